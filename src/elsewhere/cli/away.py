"""Jobs whose controllers sit on another machine: `run --controller` puts one there, and what looks at such a job, or
changes it, is asked there, over the user's own OpenSSH (controller/seat.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli.terminal import say, say_json, tell
from elsewhere.errors import JobAway, PlaceError, UsageError

if TYPE_CHECKING:
    from elsewhere.controller.away import Away
    from elsewhere.model.place import Place

INTERRUPTED = 130
JOB = "job"
"""In place of the name of a place: of a job of the one that tasks run on."""
LAST = 5.0
"""Seconds that standard error has to come to its end, once standard output has."""


# --- putting one there ----------------------------------------------------------------------------------------------


def begin(asked: SimpleNamespace) -> int:
    """Run the same words there; then follow the job from here, unless that is not wanted."""
    from dataclasses import replace

    from elsewhere.cli import places, seats
    from elsewhere.controller import away as known
    from elsewhere.controller import seat

    _refuse(asked)
    own = asked.controller == JOB and JOB not in places.known()
    place, (root, at) = _target(asked) if own else places.find(asked.controller), _project()
    needs, env = seat.needs_of(_target(asked)), _variables(asked)
    places.greet(place)
    named = _named(asked, root)
    terms = seats.terms(asked, place, own)
    found = seat.settle(place, root, named, needs, terms, seats.saying(asked))
    away = replace(found, env=tuple(env))
    words = ["run", "--detach", "--json", *without(asked.typed, "--controller")]
    if own:
        env |= _interpreter()
    with seats.dismissed(away) as stays, tempfile.TemporaryFile() as out:
        status = seat.ask(away, words, out=out.fileno(), env=env, at=str(at), stays=True)
        if status:
            return status
        out.seek(0)
        told = json.loads(out.read().splitlines()[-1])
        away = replace(away, kept=told.get("kept") or "")
        away = known.keep(away, told["job"]["id"], told["job"]["name"], time.time())
        stays.append(away)
    _tell(asked, away)
    if asked.detach:
        return 0
    return seats.follow(away, _shown(asked), lambda: _follow(asked, away))


def _refuse(asked: SimpleNamespace) -> None:
    if asked.tasks_name == "-" or asked.each_line == "-":
        raise UsageError("standard input does not travel to another machine", hint="Write it into a file.")
    if asked.results:
        hint = "Leave it out, and write them once it is over: elsewhere results JOB -o FILE."
        raise UsageError("--results wants the controller here, --controller does not", hint=hint)


def _project() -> tuple[Path, Path]:
    """(the directory that travels, where in it we stand): that of the settings if they lie above, else this one."""
    from elsewhere.config import load

    cwd = Path.cwd()
    above = [path for path in load.current().directories.values() if cwd.is_relative_to(path)]
    root = min((path.absolute() for path in above), key=lambda path: len(path.parts), default=cwd)
    return root, Path("project") / cwd.relative_to(root)


def _named(asked: SimpleNamespace, root: Path) -> dict[str, Path]:
    """Files that were typed, by their paths below the root: git, or .elsewhereignore, may not have them."""
    from elsewhere.cli import projects
    from elsewhere.ship import bundle
    from elsewhere.ship.inputs import is_url

    typed = [asked.tasks_name] if asked.tasks_name and projects.is_tasks_file(asked.tasks_name) else []
    typed += [text for text in (asked.each_line, asked.startup_script) if text]
    typed += [text for text in asked.input if not is_url(text)]
    found: dict[str, Path] = {}
    for path in (Path.cwd() / Path(text).expanduser() for text in typed):
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory", hint="Nothing was started.")
        if not path.is_relative_to(root):
            raise UsageError(f"{path} lies outside of {root}, which is what travels with the controller",
                             hint="Copy it there, or run this from a directory above both.")  # fmt: skip
        name = str(path.relative_to(root))
        found.update(bundle.tree(path, f"{name}/") if path.is_dir() else {name: path})
    return found


def _target(asked: SimpleNamespace) -> Place:
    """The place that the job will run on, as far as it is known here."""
    from elsewhere.cli import places
    from elsewhere.config import load

    found = load.current()
    job = asked.tasks_name if asked.tasks_name in found.names("jobs") else ""
    return places.find(asked.on or found.value("on", asked.profile or "", job) or "local")


def _interpreter() -> dict[str, str]:
    """Where our files are seen, tasks have the interpreter there that they would have here, unless another is named."""
    from elsewhere.ship.environment import interpreter

    prefix = Path(interpreter().path).parent.parent
    return {"VIRTUAL_ENV": str(prefix)} if (prefix / "bin" / "python").exists() else {}


def _variables(asked: SimpleNamespace) -> dict[str, str]:
    """What is set here and wanted there: settings, variables of tasks that were named alone, secrets that are kept so.

    ConfigError: a secret is not set here.
    """
    from elsewhere.config import load, secret

    found = load.current()
    job = asked.tasks_name if asked.tasks_name in found.names("jobs") else ""
    kept = [*dict(asked.secret).values(), *found.spec(asked.profile or "", job).get("secrets", {}).values()]
    env = {name: text for name, text in os.environ.items() if load.is_setting(name) or name == "ELSEWHERE_PROFILE"}
    env.update({name: value for name, value in asked.env if os.environ.get(name) == value})
    env.update({text.removeprefix("env:"): secret.Secret(text).reveal() for text in kept if text.startswith("env:")})
    return env


def without(words: Sequence[str], option: str) -> list[str]:
    """These words without an option and its value."""
    found = list(words)
    until = found.index("--") if "--" in found else len(found)
    for k in [k for k in range(until) if found[k].partition("=")[0] == option][::-1]:
        del found[k : k + (1 if "=" in found[k] else 2)]
    return found


def _tell(asked: SimpleNamespace, away: Away) -> None:
    if asked.json:
        where = {"place": away.place, "host": away.host}
        say_json({"event": "detached", "job": {"id": away.job, "name": away.name}, "controller": where})
        return
    if asked.detach:
        say(away.job)
    if not asked.quiet:
        tell(f"The controller of {away.name} sits on {away.host}: this machine may go. `elsewhere watch {away.name}` "
             f"follows it, `elsewhere cancel {away.name}` stops it.")  # fmt: skip


def _follow(asked: SimpleNamespace, away: Away) -> int:
    if asked.rest and asked.each_line is None and not asked.json:
        return _follow_one(away)
    return watch(away, _shown(asked))


def _shown(asked: SimpleNamespace) -> list[str]:
    return ["--quiet"] * asked.quiet + ["--json"] * asked.json


def _follow_one(away: Away) -> int:
    """One command: its output on ours, its status as ours."""
    with Path(os.devnull).open("wb") as nowhere:

        def follow(stream: str, to: int) -> int:
            words = ["logs", "--follow", "--raw", f"--std{stream}", f"{away.job}/1"]
            return _asked(away, words, to, err=nowhere.fileno())

        def follow_errors() -> None:
            with contextlib.suppress(PlaceError):  # whoever follows the rest says so
                follow("err", 2)

        other = threading.Thread(target=follow_errors, daemon=True)
        other.start()
        if follow("out", 1) == INTERRUPTED:
            return INTERRUPTED
        other.join(LAST)
    return _own_status(away)


def _own_status(away: Away) -> int:
    """Of the only task of a job that is over."""
    status = watch(away, ["--quiet"])
    if status != 1:
        return status
    with tempfile.TemporaryFile() as out:
        _asked(away, ["results", away.job], out.fileno())
        out.seek(0)
        rows = [json.loads(line) for line in out.read().splitlines()]
    error = rows[0].get("error") or {} if rows else {}
    return 128 + int(error["signal"]) if error.get("signal") else int(error.get("exit_code") or status)


# --- asking there ---------------------------------------------------------------------------------------------------


def forward(name: str, asked: SimpleNamespace, found: JobAway) -> int:
    """Run a command there that was typed here, of a job that is away."""
    from elsewhere.cli import seats
    from elsewhere.controller import away as known

    away = next(one for one in known.records() if one.job == found.job)
    if away.seat:
        return seats.forward(name, asked, away, lambda: _there(name, asked, away, found))
    return _there(name, asked, away, found)


def _there(name: str, asked: SimpleNamespace, away: Away, found: JobAway) -> int:
    if name == "shell":
        found.hint = f"`elsewhere shell {away.place} {away.host}` opens a terminal there."
    if name == "shell" or (name == "rm" and len(asked.job) > 1):
        raise found
    if name == "results" and asked.output is not None:
        return _results(away, asked)
    words = [name, *_renamed(asked.typed, found.reference, away.job)]
    if name in ("resume", "retry"):
        return _go_on(away, asked, words)
    return _remove(away, asked, words) if name == "rm" else _asked(away, words)


def _remove(away: Away, asked: SimpleNamespace, words: list[str]) -> int:
    """There, and then here. With --force it is forgotten here also where nobody answers there any more."""
    from elsewhere.controller import away as known

    try:
        status = _asked(away, words)
    except PlaceError as error:
        if not asked.force:
            raise
        tell(f"{error.message}. {away.name} is forgotten here; what is left of it there stays.")
        status = 0
    if status == 0:
        known.forget(away.job)
        if away.seat:
            from elsewhere.controller import hired

            hired.dismiss(away)
    return status


def _renamed(typed: Sequence[str], reference: str, job: str) -> list[str]:
    """The words with the job by its id, which is its name there, too."""
    for k, word in enumerate(typed):
        if word == reference or word.startswith(f"{reference}/"):
            return [*typed[:k], job + word.removeprefix(reference), *typed[k + 1 :]]
    return [*typed, job]


def _go_on(away: Away, asked: SimpleNamespace, words: list[str]) -> int:
    """A controller of its own goes on, never one that would end with this connection."""
    if asked.detach or getattr(asked, "no_run", False):
        return _asked(away, words, stays=True)
    if asked.results:
        raise UsageError("--results wants the controller here", hint=f"elsewhere results {away.name} -o FILE")
    with tempfile.TemporaryFile() as out:  # its id, which nobody asked for
        status = _asked(away, [words[0], "--detach", *words[1:]], out.fileno(), stays=True)
    return status or watch(away, _shown(asked))


def _results(away: Away, asked: SimpleNamespace) -> int:
    """Written there, brought here as one archive, and only then put where it was asked for."""
    import shutil
    import tarfile

    from elsewhere.channels.outputs import unpack
    from elsewhere.cli import results

    target = asked.output if asked.files else results.checked(asked.output)
    name = "files" if asked.files else f"results{target.suffix}"
    words = ["results", away.job, "-o", name, *["--failed"] * asked.failed, *["--files"] * asked.files]
    words += ["--format", "jsonl" if asked.json else asked.format] if asked.format or asked.json else []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryDirectory() as folder:
        status = _asked(away, words, out.fileno(), fetch=True)
        if status:
            return status
        out.seek(0)
        with tarfile.open(fileobj=out) as tar:
            unpack(tar, Path(folder) / "all")
        found = Path(folder) / "all" / name
        if not asked.files:
            with found.open("rb") as pieces:
                results.save(target, iter(lambda: pieces.read(1 << 16), b""))
        elif found.is_dir():
            shutil.copytree(found, target, dirs_exist_ok=True)
    return 0


def watch(away: Away, flags: list[str]) -> int:
    """Follow the job from here."""
    return _asked(away, ["watch", *flags, away.job])


def _asked(away: Away, words: list[str], out: int = 1, **more: Any) -> int:
    from elsewhere.controller import seat

    sys.stdout.flush()
    env = {name: os.environ[name] for name in away.env if name in os.environ}  # by which secrets are struck out, too
    try:
        return seat.ask(away, words, out=out, env=env, **more)
    except KeyboardInterrupt:
        tell(f"You stopped watching; the job goes on. `elsewhere watch {away.name}` watches again.")
        return INTERRUPTED
    except PlaceError as error:
        error.hint = error.hint or f"The job goes on there; `elsewhere {words[0]} {away.name}` asks again."
        raise
