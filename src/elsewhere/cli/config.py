"""`elsewhere config`: the settings in force, where each comes from, and what is wrong with their files."""

from __future__ import annotations

from types import SimpleNamespace

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import coloured, paint, say, say_json
from elsewhere.errors import UsageError

COMMAND = Command(
    "config",
    about="`show` prints each setting in force and where it comes from: elsewhere.yaml (found upward from here),\n"
    "[tool.elsewhere] of pyproject.toml, your own file, or ELSEWHERE_... variables. Secrets are never printed.\n"
    "`check` reads all these files and names every mistake with its line; exit status 2 if there is one.",
    arguments=[Argument("ACTION", "show, or check.", default="show", completes="show check")],
    options=[Option("--profile", value="NAME", help="With this profile of the settings on top."), which.JSON],
    usage=["elsewhere config [show] [--profile NAME] [--json]", "elsewhere config check [--json]"],
)


def main(asked: SimpleNamespace) -> int:
    if asked.action not in ("show", "check"):
        raise UsageError(f"config cannot {asked.action!r}" + nearest(asked.action, ["show", "check"]),
                         hint="Write `elsewhere config show` or `elsewhere config check`.")  # fmt: skip
    return _check(asked) if asked.action == "check" else _show(asked)


def _check(asked: SimpleNamespace) -> int:
    from elsewhere.backends import registry
    from elsewhere.config import load

    files = load.check(_schemas(), registry.names())  # ConfigError names every fault, and ends with status 2
    if asked.json:
        say_json({"ok": True, "files": files})
    else:
        say(*(f"ok  {file}" for file in files) if files else ("There is no settings file.",))
    return 0


def _schemas() -> dict[str, type]:
    """What the settings of each backend that can be loaded are, so that the keys of places are checked too."""
    from elsewhere.backends import registry
    from elsewhere.errors import MissingExtra

    found = {}
    for name in registry.names():
        try:
            found[name] = registry.load(name).Settings
        except MissingExtra:
            continue
    return found


def _show(asked: SimpleNamespace) -> int:
    from elsewhere.config import load

    rows = load.current().shown(asked.profile or "")
    if asked.json:
        say_json([{"key": key, "value": value, "source": source} for key, value, source in rows])
        return 0
    from elsewhere.observe.table import table

    head, *lines = table(("key", "value", "from"), rows)
    say(paint(head, "bold", coloured()), *lines)
    return 0
