"""Controllers on a machine that is hired for them: what one costs is said before it starts; and a job whose machine has
ended comes home, or goes on with another one (controller/hired.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli.terminal import tell
from elsewhere.errors import UsageError, Vacant

if TYPE_CHECKING:
    from elsewhere.controller.away import Away
    from elsewhere.controller.hired import Terms
    from elsewhere.model.place import Place

CEILING = Decimal(10)
"""Dollars of a job that has no budget of its own."""


def terms(asked: SimpleNamespace, place: Place, own: bool = False) -> Terms | None:
    """What a machine for the controller would be there, said. None: nothing is hired there. `own`: as of hired.terms.

    UsageError: nobody has said what the job may cost; there is nobody to ask where its controller sits.
    """
    from elsewhere.controller import hired
    from elsewhere.model.units import show_duration
    from elsewhere.observe.cost import money

    budget = asked.budget or place.limits.budget
    found = hired.terms(place, budget or CEILING, own)
    if found is None:
        return None
    if budget is None and found.most and not asked.yes:
        raise UsageError(f"{place.name} costs money, and there is nobody to ask where the controller sits",
                         hint="Say what the job may cost in all (--budget 5), or --yes for up to $10.")  # fmt: skip
    if not (asked.quiet or asked.json):
        first = found.offers[0]
        price = f", ${first.price:f} an hour" if first.price else ""
        most = f": {money(found.most)}, which is set aside from the budget" if found.most else ""
        tell(f"controller: {first.name} in {first.zone}{price}, for {show_duration(found.term)} at most{most}")
    return found


def saying(asked: SimpleNamespace) -> Callable[[str], None]:
    return (lambda line: None) if asked.quiet or asked.json else tell


@contextmanager
def dismissed(away: Away) -> Iterator[list[Away]]:
    """A machine on which no job began ends again; one did if it is put into the list."""
    kept: list[Away] = []
    try:
        yield kept
    finally:
        if away.seat and not kept:
            from elsewhere.controller import hired

            hired.dismiss(away)


def forward(name: str, asked: SimpleNamespace, away: Away, there: Callable[[], int]) -> int:
    """A command of such a job: there, or here once it has come home."""
    if _is_home(away):
        return _here(name, asked)
    try:
        return there()
    except Vacant as gone:
        if _is_home(away):
            return _here(name, asked)
        if name == "resume" and away.kept and not gone.transient:
            return _succeed(asked, away)
        raise


def follow(away: Away, flags: list[str], there: Callable[[], int]) -> int:
    """Whoever follows a job goes on here when it comes home meanwhile."""
    try:
        return there()
    except Vacant:
        if not _is_home(away):
            raise
        from elsewhere.cli.dispatch import dispatch

        return dispatch(["watch", *flags, away.job])


def _is_home(away: Away) -> bool:
    from elsewhere.controller import hired

    if hired.come_home(away) is None:
        return False
    tell(f"The machine on which the controller of {away.name} sat has ended; the job is here now.")
    return True


def _here(name: str, asked: SimpleNamespace) -> int:
    from importlib import import_module

    from elsewhere.cli.table import COMMANDS

    return int(import_module(COMMANDS[name][0]).main(asked))


def _succeed(asked: SimpleNamespace, away: Away) -> int:
    """The controller goes on, on another machine, from the job's log."""
    import os

    from elsewhere.cli.away import watch
    from elsewhere.controller import away as known
    from elsewhere.controller import hired, seat

    new = hired.succeed(away, saying(asked), asked.budget)
    env = {name: os.environ[name] for name in away.env if name in os.environ}
    more = [] if asked.budget is None else ["--budget", f"{asked.budget:f}"]
    with dismissed(new) as stays, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        words = ["resume", "--from", away.kept, "--detach", *more]
        status = seat.ask(new, words, out=nowhere.fileno(), env=env, stays=True)
        if status:
            return status
        stays.append(known.keep(new, away.job, away.name, away.created))
    if asked.detach:
        return 0
    return watch(new, ["--quiet"] * asked.quiet + ["--json"] * asked.json)
