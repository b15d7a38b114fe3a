"""A place that costs money: before a job runs there, its machines are chosen, the price is shown, and somebody agrees.

Nothing is launched here. Who says no leaves nothing behind.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import prices, terminal, wanting, which
from elsewhere.cli.terminal import is_terminal, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.api.choosing import Choice
    from elsewhere.model.place import Place
    from elsewhere.session import JobFiles


def check(asked: SimpleNamespace, place: Place) -> Any:
    """What lists the place's offers, or None: it costs nothing. UsageError: nobody can be asked, and nobody has agreed.

    Called before anything is made.
    """
    from elsewhere import session

    inventory = session.inventory(place)
    if inventory is None:
        return None
    agreed = asked.yes or asked.budget is not None or place.limits.budget is not None
    if not agreed and not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError(
            f"{place.name} costs money, and there is nobody here to ask",
            hint="Say what it may cost (--budget 5), or --yes for up to $10; `elsewhere plan` shows the price.",
        )
    wanting.wants(asked, place.limits)
    return inventory


def settle(files: JobFiles, asked: SimpleNamespace, place: Place, inventory: Any) -> bool:
    """Choose machines for this job, show them and ask. False: no, and the job is gone. So it is on any error."""
    from elsewhere import session

    try:
        agreed = _settle(files, asked, place, inventory)
    except BaseException:
        session.remove(files)
        raise
    if not agreed:
        session.remove(files)
        tell("Nothing was started.")
    return agreed


def _settle(files: JobFiles, asked: SimpleNamespace, place: Place, inventory: Any) -> bool:
    from elsewhere.api import choosing

    wants = wanting.wants(asked, place.limits)
    with which.opened(files) as ledger:
        count = ledger.count().total
    catalog = inventory.catalog(wants.regions)
    choice = choosing.choose(catalog, wants, count, slots=asked.slots, duration=asked.task_time)
    if not asked.quiet and not asked.json:
        tell(*said(choice, count, keep_of(asked)))
    if not asked.yes and not choice.named and not _yes():
        return False
    choosing.accept(files, choice, catalog, inventory.traits.channels[0])
    return True


def keep_of(asked: SimpleNamespace) -> timedelta | None:
    """How long machines on which something failed are kept: as typed, else as settings say."""
    kept: timedelta | None = asked.keep_on_failure or getattr(asked, "defaults", {}).get("keep_on_failure")
    return kept


def kept_price(choice: Choice, keep: timedelta | None) -> list[str]:
    """What keeping may cost, a line; nothing is kept: none."""
    from elsewhere.model.units import show_duration
    from elsewhere.observe.cost import dollars, money

    if not keep:
        return []
    most = max(dollars(row.offer.price, keep) for row in choice.plan.rows)
    return [f"a machine on which something fails is kept for {show_duration(keep)}: up to {money(most)} each, "
            "within the same ceilings"]  # fmt: skip


def said(choice: Choice, count: int, keep: timedelta | None = None) -> list[str]:
    """The choice in a few lines: machines, price, the end, the ceiling."""
    from elsewhere.model.units import show_duration

    made, found = choice.plan, choice.estimate
    lines = [f"  {row.count} x {row.offer.name} in {row.offer.zone}, {prices.kind(row.offer)}, "
             f"{row.slots} at a time: ${prices.money(row.price)}/h" for row in made.rows]  # fmt: skip
    lines += prices.sums(made)
    if found is not None:
        lines.append(f"about {show_duration(found.time)} and ${found.cost:.2f} to the end; at least ${found.floor:.2f}")
    ceiling = f"at most ${choice.budget:.2f} in all and ${choice.ceiling:.2f} an hour"
    return [*lines, *kept_price(choice, keep), ceiling + ("" if choice.named else "; --budget says otherwise")]


def _yes() -> bool:
    return terminal.agreed("Start?")
