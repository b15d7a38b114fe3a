"""`elsewhere places`: where work may run; `elsewhere places check`: whether it may, and what is missing."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import coloured, paint, say, say_json
from elsewhere.errors import ElsewhereError, UnknownPlace, UsageError

if TYPE_CHECKING:
    from elsewhere.model.place import Place

COMMAND = Command(
    "places",
    about="Lists the places where work may run: those of elsewhere.yaml, and every backend under its own name.\n"
    "`check` asks each, or those that are named, whether it may be used; it creates nothing.\n"
    "`add` sets one up, with questions, and writes it into elsewhere.yaml: `elsewhere places add --help`.\n"
    "Exit status of check: 0 all are well, 3 one is not.",
    arguments=[
        Argument("ACTION", "list, check, or add.", default="list", completes="list check add"),
        Argument("PLACE", "Only these.", many=True),
    ],
    options=[
        which.JSON,
        Option(
            "--policy",
            value="WHO",
            choices=("user", "machine", "controller"),
            help="With check and one PLACE: print the least rights that suffice there, of the user who launches, "
            "of a machine, or of one on which a controller sits, and ask nobody.",
        ),
    ],
    usage=[
        "elsewhere places [--json]",
        "elsewhere places check [PLACE...] [--json]",
        "elsewhere places check PLACE --policy user|machine|controller",
        "elsewhere places add NAME [--backend BACKEND] [--KEY VALUE]... [--container NAME=IMAGE]... [--yes]",
    ],
)
REFUSED = 3


def words_of_their_own(words: list[str]) -> bool:
    """`add` has a grammar of its own, with the keys of all backends."""
    return words[:1] == ["add"]


def run(words: list[str]) -> int:
    """`add`, and its exit status."""
    from elsewhere.cli import adding, grammar

    command = adding.command()
    try:
        return adding.main(grammar.read(command, words[1:]))
    except grammar.HelpAsked:
        sys.stdout.write(grammar.page(command, coloured()))
        return 0


def main(asked: SimpleNamespace) -> int:
    if asked.action not in ("list", "check"):
        raise UsageError(f"places cannot be {asked.action!r}" + nearest(asked.action, ["list", "check", "add"]),
                         hint="Write `elsewhere places`, `... check [PLACE...]` or `... add NAME`.")  # fmt: skip
    places = known()
    wanted = asked.place or list(places)
    places |= {name: find(name, places) for name in wanted}
    if asked.policy:
        return _policy(wanted, places, asked)
    if asked.action == "check" and not asked.place:
        wanted = [name for name in wanted if not _is_not_set_up(name)]
    return _check(wanted, places, asked) if asked.action == "check" else _list(wanted, places, asked)


def known() -> dict[str, Place]:
    """Every place by name: those that settings define, and the backends that are installed."""
    from elsewhere.backends import registry
    from elsewhere.config import load
    from elsewhere.model.place import Place

    return {**{name: Place(name, name) for name in registry.names()}, **load.current().places()}


def greet(place: Place) -> None:
    """As api.greeting.greet."""
    from elsewhere.api import greeting

    greeting.greet(place)


def find(name: str, places: dict[str, Place] | None = None) -> Place:
    """The place of that name; UnknownPlace names the nearest."""
    from elsewhere.backends import registry

    places = known() if places is None else places
    if name not in places and (addressed := registry.addressed(name)) is not None:
        return addressed
    if name not in places:
        raise UnknownPlace(
            f"there is no place {name!r}" + nearest(name, list(places)), hint="`elsewhere places` lists them."
        )
    return places[name]


def _is_not_set_up(name: str) -> bool:
    """A place beyond this machine that no settings speak of: it is asked when it is named, and not before."""
    from elsewhere.backends import registry
    from elsewhere.config import load

    return name not in load.current().places() and registry.load(name).traits.outlives_client


def _policy(wanted: list[str], places: dict[str, Place], asked: SimpleNamespace) -> int:
    import json

    from elsewhere.backends import registry
    from elsewhere.backends.base import Permissions

    if asked.action != "check" or len(wanted) != 1:
        raise UsageError("--policy is of one place", hint="Write `elsewhere places check PLACE --policy user`.")
    place = registry.build(places[wanted[0]])
    if not isinstance(place, Permissions):
        raise UsageError(f"the place {wanted[0]} has no policy", hint="Its rights are those of your own login.")
    say(json.dumps(place.policy(asked.policy), indent=2))
    return 0


def _list(wanted: list[str], places: dict[str, Place], asked: SimpleNamespace) -> int:
    from elsewhere.observe.table import table

    rows: list[dict[str, Any]] = [
        {"name": name, "backend": places[name].backend, "settings": dict(places[name].settings)} for name in wanted
    ]
    if asked.json:
        say_json(rows)
        return 0
    shown = [(row["name"], row["backend"], ", ".join(f"{k}={v}" for k, v in row["settings"].items())) for row in rows]
    head, *lines = table(("name", "backend", "settings"), shown)
    say(paint(head, "bold", coloured()), *lines)
    return 0


def _check(wanted: list[str], places: dict[str, Place], asked: SimpleNamespace) -> int:
    from elsewhere.backends import registry

    rows = []
    for name in wanted:
        try:
            if asked.place:
                greet(places[name])
            rows += [{"place": name, "what": f.what, "ok": f.ok, "detail": f.detail, "hint": f.hint}
                     for f in registry.build(places[name]).check()]  # fmt: skip
        except ElsewhereError as error:
            rows.append({"place": name, "what": "check", "ok": False, "detail": error.message, "hint": error.hint})
        except ImportError as error:
            rows.append(
                {"place": name, "what": "check", "ok": False, "detail": str(error), "hint": "Install it again."}
            )
    if asked.json:
        say_json(rows)
    else:
        on = coloured()
        for row in rows:
            word = paint("ok ", "green", on) if row["ok"] else paint("BAD", "red", on)
            say(f"{word}  {row['place']}  {row['what']}  {row['detail']}".rstrip())
            if row["hint"] and not row["ok"]:
                say(f"     {row['hint']}")
    return 0 if all(row["ok"] for row in rows) else REFUSED
