"""Catalogs and plans as people read them: where a catalog comes from, and its tables.

Plain text in lines; what to choose is decided in choose/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli.grammar import Option
from elsewhere.cli.read import path
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.backends.base import Inventory
    from elsewhere.choose.plan import Chosen, Plan
    from elsewhere.choose.wants import Wants
    from elsewhere.model.catalog import Catalog
    from elsewhere.model.place import Offer

REFRESH = Option("--refresh", help="Ask the place again, even if its answer was kept.")
FROM = Option("--from", value="FILE", parse=path, help="Prices of a snapshot instead of the place's of today.")
SAVE = Option("--save", value="FILE", parse=path, help="Write the catalog to FILE, as a dated snapshot in JSON.")


def catalog(asked: SimpleNamespace, inventory: Inventory | None, wants: Wants) -> Catalog | None:
    """What may be chosen from: a snapshot's, or the place's. None: the place has no prices."""
    if getattr(asked, "from") is not None:
        return read(getattr(asked, "from"))
    return None if inventory is None else inventory.catalog(wants.regions, fresh=asked.refresh)


def read(file: Path) -> Catalog:
    """A snapshot. UsageError names what is wrong with it."""
    import json

    from elsewhere.choose import snapshot

    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        raise UsageError(f"{file}: this is no JSON", hint="`elsewhere offers --save FILE` writes a snapshot.") from None
    try:
        return snapshot.decode(found)
    except UsageError as error:
        raise UsageError(f"{file}: {error.message}", hint=error.hint) from None


def write(file: Path, found: Catalog) -> None:
    import json

    from elsewhere.choose import snapshot

    file.write_text(json.dumps(snapshot.encode(found)), encoding="utf-8")


def money(amount: Decimal) -> str:
    """Dollars as they matter: cents from ten, else four digits."""
    return f"{amount:.2f}" if amount >= 10 else f"{amount:.4f}"


HEADS = ("", "type", "cpus", "memory", "gpus", "zone", "kind", "slots", "$/h", "$/h per slot", "machines")


def row(one: Chosen) -> tuple[Any, ...]:
    offer, has = one.offer, one.offer.resources
    from elsewhere.model.units import show_size

    each = offer.price / one.slots if one.slots else offer.price
    return ("*" if one.count else " ", offer.name, int(has.cpus), show_size(has.memory or 0),
            f"{has.gpus} {has.gpu_type}".strip() if has.gpus else "", offer.zone, kind(offer), one.slots,
            money(offer.price), money(each), one.count or "")  # fmt: skip


def kind(offer: Offer) -> str:
    return "spot" if offer.spot else "on demand"


def lines(found: Iterable[Chosen]) -> list[str]:
    """The table of offers; what was chosen is marked."""
    from elsewhere.observe.table import table

    return table(HEADS, [row(one) for one in found])


def json_row(one: Chosen) -> dict[str, Any]:
    offer, has = one.offer, one.offer.resources
    return {
        "type": offer.name, "zone": offer.zone, "spot": offer.spot, "cpus": int(has.cpus), "memory": has.memory,
        "gpus": has.gpus, "gpu_type": has.gpu_type, "boot_disk": has.disk, "slots": one.slots,
        "price": float(offer.price), "machine_price": float(one.bare), "machines": one.count,
    }  # fmt: skip


def sums(plan: Plan) -> list[str]:
    """What the plan comes to, how good it is, and what stands before more."""
    from elsewhere.observe.explain import plural

    said = [f"{plural(plan.machines, 'machine')}, {plural(plan.cpus, 'CPU')}, {plural(plan.slots, 'task')} at a time: "
            f"${money(plan.price)} an hour, {plan.certificate}"]  # fmt: skip
    if plan.slots < plan.wanted:
        said.append(
            f"{plan.wanted:,} at a time would be of use; the limits (machines, CPUs, dollars an hour) allow these"
        )
    if plan.note:
        said.append(plan.note)
    return said


def refusals(counts: Sequence[tuple[str, int]], unpriced: Sequence[str]) -> list[str]:
    """Types that are not among the offers, and why."""
    from elsewhere.observe.explain import plural

    said = []
    if counts:
        said.append("refused: " + ", ".join(f"{plural(count, 'type')} by {flag}" for flag, count in counts))
    if unpriced:
        more = f" and {len(unpriced) - 5} more" if len(unpriced) > 5 else ""
        said.append(f"without a price: {', '.join(unpriced[:5])}{more}")
    return said
