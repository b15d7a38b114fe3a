"""`elsewhere environments`: the software that places keep for jobs to come: build it, list it, remove it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.read import duration
from elsewhere.cli.terminal import complain, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.backends.base import Kept

COMMAND = Command(
    "environments",
    about="What is kept of the `environments:` of elsewhere.yaml, here or on the machines of a place that stay.\n"
    "`build` makes it there before there is a job; a job makes what is missing by itself.\n"
    "`rm` removes those that are named, or all; never one that a job may be using.\n"
    "Exit status of build: 0 it is there, 1 a machine could not build it, 2 it does not resolve, 3 the place refused.",
    arguments=[
        Argument("ACTION", "list, build, or rm.", default="list", completes="list build rm"),
        Argument("NAME", "An entry of `environments:`; for rm also the beginning of a mark.", many=True),
    ],
    options=[
        Option("--on", value="PLACE", default="local", help="Where; by default here."),
        Option("--older-than", value="TIME", parse=duration, help="With rm: only what was not used for so long: 30d."),
        Option("--python", value="PATH", help="The interpreter that it is made from here, as `run` has it."),
        which.JSON,
    ],
    usage=[
        "elsewhere environments [list] [--on PLACE] [--json]",
        "elsewhere environments build NAME... [--on PLACE]",
        "elsewhere environments rm [NAME...] [--on PLACE] [--older-than TIME]",
    ],
)
_ACTIONS = ("list", "build", "rm")
FAILED = 1


def main(asked: SimpleNamespace) -> int:
    from elsewhere.cli.places import find

    if asked.action not in _ACTIONS:
        raise UsageError(f"environments cannot be {asked.action!r}" + nearest(asked.action, _ACTIONS),
                         hint="Write `elsewhere environments`, `... build NAME` or `... rm`.")  # fmt: skip
    asked.place = find(asked.on)
    return {"list": _list, "build": _build, "rm": _remove}[asked.action](asked)


def _list(asked: SimpleNamespace) -> int:
    from elsewhere.api import environments
    from elsewhere.model.units import show_size
    from elsewhere.observe.table import table

    found = environments.kept(asked.place)
    if asked.json:
        say_json([_plain(one) for one in found])
    elif not found:
        say(f"Nothing is kept {'here' if asked.on == 'local' else 'on ' + asked.on}.")
    else:
        rows = [(one.machine, one.about.get("name") or "-", _what(one), show_size(one.bytes),
                 f"{one.used.astimezone():%Y-%m-%d %H:%M}" + (", in use" if one.busy else ""), one.mark[:12])
                for one in found]  # fmt: skip
        say(*table(("machine", "name", "what", "size", "last used", "mark"), rows))
    return 0


def _plain(one: Kept) -> dict[str, Any]:
    return {"machine": one.machine, "mark": one.mark, "bytes": one.bytes, "used": one.used.isoformat(),
            "busy": one.busy, **one.about}  # fmt: skip


def _what(one: Kept) -> str:
    from elsewhere.observe.wording import plural

    python, pip, conda, julia = (one.about.get(key) or "" for key in ("python", "pip", "conda", "julia"))
    parts = [f"Python {python}" if python else "", plural(len(pip), "package") + " by pip" if pip else "",
             f"{len(conda)} by conda" if conda else "", f"Julia: {julia}" if julia else ""]  # fmt: skip
    return ", ".join(part for part in parts if part)


def _build(asked: SimpleNamespace) -> int:
    from elsewhere.api import environments
    from elsewhere.config import load
    from elsewhere.controller.building import Built

    if not asked.name:
        raise UsageError("which environment is to be built?", hint="Write `elsewhere environments build NAME`.")
    wanted = [load.current().environment(name) for name in asked.name]
    path, version = environments.interpreter(asked.python or "")
    made: list[dict[str, Any]] = []
    for environment in wanted:

        def told(one: Built, name: str = environment.name) -> None:
            made.append({"name": name, "machine": one.machine, "ok": one.ok, "said": one.said})
            if one.ok:
                tell(f"{name} is built on {one.machine}" if one.machine != "here" else f"{name} is built here")
            else:
                complain(f"{name} cannot be built on {one.machine}:\n{one.said}")

        environments.build(environment, asked.place, Path.cwd(), path, version, told)
        if environment.setup and asked.on != "local":
            tell(f"the setup lines of {environment.name} are run by each job, for they may change its code")
    if asked.json:
        say_json(made)
    return 0 if all(one["ok"] for one in made) else FAILED


def _remove(asked: SimpleNamespace) -> int:
    from elsewhere.api import environments
    from elsewhere.model.units import show_size
    from elsewhere.observe.wording import plural

    found = environments.kept(asked.place)
    gone = environments.chosen(found, asked.name, asked.older_than)
    if gone:
        environments.remove(asked.place, gone)
    if asked.json:
        say_json({"removed": [_plain(one) for one in gone], "kept": len(found) - len(gone)})
        return 0
    busy = sum(one.busy for one in found)
    say(f"Removed {plural(len(gone), 'environment')}, {show_size(sum(one.bytes for one in gone))}; "
        f"{len(found) - len(gone)} stay" + (f", of which {busy} in use." if busy else "."))  # fmt: skip
    return 0
