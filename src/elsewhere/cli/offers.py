"""`elsewhere offers`: what a place sells, at its true price, and why each of the rest is not among it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking, prices, wanting, which
from elsewhere.cli.grammar import Argument, Command, Option
from elsewhere.cli.read import positive
from elsewhere.cli.terminal import coloured, paint, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.backends.base import Inventory
    from elsewhere.choose.plan import Chosen
    from elsewhere.choose.wants import Wants
    from elsewhere.model.catalog import Catalog
    from elsewhere.model.place import Place

_OF_TASKS = [option for option in asking.OPTIONS if option.key in ("cpus", "memory", "gpus")]
_NO_USE = ("simultaneous", "machines", "total_cpus", "min_price_per_hour", "budget")

COMMAND = Command(
    "offers",
    about="Lists the machines that a place sells and that do for what is asked, cheapest first by the true price of a\n"
    "slot: machine, boot disk and public address, for each task that runs on it at a time. Creates nothing.\n"
    "Exit status: 0, 2 nothing does, 3 the place did not tell.",
    arguments=[Argument("PLACE", "The place. By default that of the settings.")],
    options=[
        Option("--regions", help="List regions instead."),
        Option("--images", help="List images instead."),
        Option("--types", help="One line for each type, in its cheapest zone."),
        Option("--why", help="List the types that are refused, with every reason."),
        Option("--limit", value="N", parse=positive, default=20, help="At most so many lines."),
        prices.REFRESH, prices.SAVE, prices.FROM, which.JSON,
        *_OF_TASKS, *(option for option in wanting.OPTIONS if option.key not in _NO_USE),
    ],
    examples=[
        ("elsewhere offers aws --cpus 2 --memory 8GiB --spot", ""),
        ("elsewhere offers aws --machine-types 'c7*' --zone 'us-east-1*' --types", ""),
        ("elsewhere offers aws --why --machine-cpus ..8", ""),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.cli import places

    known = places.known()
    place = places.find(asked.place or _default(), known)
    _settle(asked, place)
    inventory = None if getattr(asked, "from") else session.inventory(place)
    if inventory is None and not getattr(asked, "from"):
        return _none(place.name, asked)
    if asked.regions or asked.images:
        return _names(inventory, asked)
    wants = wanting.wants(asked, place.limits)
    found = prices.catalog(asked, inventory, wants)
    assert found is not None
    if asked.save:
        prices.write(asked.save, found)
        tell(f"{len(found):,} offers of {found.taken:%Y-%m-%d %H:%M} UTC written to {asked.save}")
    return _why(found, wants, asked) if asked.why else _offers(found, wants, asked)


def _settle(asked: SimpleNamespace, place: Place) -> None:
    """What settings ask of the machines of this place; how many there are is no question of a list."""
    from elsewhere.config import load

    wanting.settle(asked, {**place.wants, **load.current().wants()})
    for key in _NO_USE:
        setattr(asked, key, None)


def _default() -> str:
    from elsewhere.config import load

    return str(load.current().value("on") or "local")


def _none(name: str, asked: SimpleNamespace) -> int:
    if asked.json:
        say_json([])
    else:
        say(f"{name} has no prices: what runs there costs nothing, or its price is not known here")
    return 0


def _names(inventory: Inventory | None, asked: SimpleNamespace) -> int:
    from elsewhere.observe.table import table

    if inventory is None:
        raise UsageError("a snapshot has prices only, no regions and images", hint="Leave out --from.")
    if asked.regions:
        names = list(inventory.regions())
        say_json(names) if asked.json else say(*names)
        return 0
    images = [(one.name, one.id, one.region, one.architecture) for one in inventory.images()]
    heads = ("name", "id", "region", "architecture")
    if asked.json:
        say_json([dict(zip(heads, one, strict=True)) for one in images])
    else:
        say(*table(heads, images[: asked.limit]))
    return 0


def _offers(found: Catalog, wants: Wants, asked: SimpleNamespace) -> int:
    from elsewhere.choose import listing

    offers, refused = listing.offers(found, wants, each_type=asked.types, duration=asked.task_time)
    shown = offers[: asked.limit]
    if asked.json:
        say_json([prices.json_row(one) for one in shown])
        return 0
    head, *lines = _without_choice(shown)
    say(paint(head, "bold", coloured()), *lines)
    if len(offers) > len(shown):
        tell(f"{len(offers) - len(shown):,} more; --limit {len(offers)} shows them")
    tell(*prices.refusals(list(refused.items()), found.unpriced))
    return 0


def _without_choice(shown: list[Chosen]) -> list[str]:
    from elsewhere.observe.table import table

    return table(prices.HEADS[1:-1], [prices.row(one)[1:-1] for one in shown])


def _why(found: Catalog, wants: Wants, asked: SimpleNamespace) -> int:
    """Every type that is refused, with all that speaks against it."""
    from elsewhere.choose.filter import sift

    sifted = sift(found.types, wants)
    rows: list[dict[str, Any]] = [
        {"type": found.types[kind].name, "reasons": [{"flag": r.flag, "why": r.why} for r in sifted.all_reasons(kind)]}
        for kind in sifted.refused
    ]
    if asked.json:
        say_json(rows)
        return 0
    for one in rows[: asked.limit]:
        say(f"{one['type']}: " + "; ".join(f"{r['flag']}: {r['why']}" for r in one["reasons"]))
    if len(rows) > asked.limit:
        tell(f"{len(rows) - asked.limit:,} more; --limit {len(rows)} shows them")
    return 0
