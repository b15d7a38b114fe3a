"""`elsewhere cache`: results of calls that were kept by content, listed and removed."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.read import duration
from elsewhere.cli.terminal import coloured, paint, say, say_json
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.api.caching import Kept

ACTIONS = ("ls", "rm")
COMMAND = Command(
    "cache",
    about="Results of calls that were kept by content (`@cacheable`, `client.submit(..., cache=True)`): how many of\n"
    "which function, and how large. What is removed is computed again when it is asked for.",
    arguments=[
        Argument("ACTION", "ls, or rm.", default="ls", completes="ls rm"),
        Argument("FUNCTION", "Only results of these.", many=True),
    ],
    options=[
        Option("--older-than", value="TIME", parse=duration, help="Only what was kept longer ago, such as 30d."),
        Option("--all", help="Of rm: results of all functions."),
        which.JSON,
    ],
    usage=["elsewhere cache [ls] [FUNCTION...] [--older-than TIME] [--json]",
           "elsewhere cache rm FUNCTION... | --all [--older-than TIME]"],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    from elsewhere.api import caching

    if asked.action not in ACTIONS:
        raise UsageError(f"a cache has no {asked.action!r}" + nearest(asked.action, ACTIONS),
                         hint="Write `elsewhere cache` or `elsewhere cache rm FUNCTION`.")  # fmt: skip
    if asked.action == "rm" and not (asked.function or asked.all):
        raise UsageError("say of which functions, or --all", hint="`elsewhere cache` lists them.")
    every = list(caching.kept())
    known = {one.name for one in every}
    if strange := [name for name in asked.function if name not in known]:
        raise UsageError(f"no result of {strange[0]!r} is kept" + nearest(strange[0], list(known)),
                         hint="`elsewhere cache` lists what is.")  # fmt: skip
    limit = time.time() - (asked.older_than.total_seconds() if asked.older_than else 0)
    found = [one for one in every if one.at <= limit and (not asked.function or one.name in asked.function)]
    if asked.action == "rm":
        for one in found:
            one.path.unlink(missing_ok=True)
        say(f"{len(found)} {'result' if len(found) == 1 else 'results'} removed.")
    else:
        _list(found, asked)
    return 0


def _list(found: list[Kept], asked: SimpleNamespace) -> None:
    from elsewhere.model.units import show_size
    from elsewhere.observe.table import table

    sums: dict[str, list[float]] = {}
    for one in found:
        count, total, newest = sums.get(one.name, [0, 0, 0.0])
        sums[one.name] = [count + 1, total + one.size, max(newest, one.at)]
    if asked.json:
        say_json([{"function": name, "results": c, "bytes": s, "newest": at} for name, (c, s, at) in sums.items()])
    elif not sums:
        say("No result is kept.")
    else:
        rows = [(name, c, show_size(int(s)), time.strftime("%Y-%m-%d %H:%M", time.localtime(at)))
                for name, (c, s, at) in sorted(sums.items())]  # fmt: skip
        head, *lines = table(("function", "results", "size", "newest"), rows)
        say(paint(head, "bold", coloured()), *lines)
