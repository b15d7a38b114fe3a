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
    rows, files = _shown(asked.profile)  # ConfigError names every fault, and ends with status 2
    if asked.action == "check":
        if asked.json:
            say_json({"ok": True, "files": files})
        else:
            say(*(f"ok  {file}" for file in files) if files else ("There is no settings file.",))
        return 0
    if asked.json:
        say_json([{"key": key, "value": value, "source": source} for key, value, source in rows])
        return 0
    from elsewhere.observe.table import table

    head, *lines = table(("key", "value", "from"), rows)
    say(paint(head, "bold", coloured()), *lines)
    return 0


def _shown(profile: str | None) -> tuple[list[tuple[str, str, str]], list[str]]:
    """((key, value, source) of every setting in force, the files that were read). ConfigError names every fault."""
    from importlib import import_module

    found: tuple[list[tuple[str, str, str]], list[str]] = import_module("elsewhere.config.settings").shown(profile)
    return found
