"""`elsewhere doctor`: what Elsewhere needs of this machine, looked at one by one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

from elsewhere.cli import which
from elsewhere.cli.grammar import Command
from elsewhere.cli.terminal import coloured, paint, say, say_json

COMMAND = Command(
    "doctor",
    about="Checks what Elsewhere needs on this machine: the state directory, SQLite, interpreters, limits, the\n"
    "clock and the signing key. Exit status: 0 all is well, 1 something is not.",
    options=[which.JSON],
)

ROOM = 512 << 20
FILES = 1024
PROCESSES = 256


class Finding(NamedTuple):
    """`ok` None: it works, but look at it."""

    what: str
    ok: bool | None
    detail: str
    hint: str = ""


def main(asked: SimpleNamespace) -> int:
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as error:  # a check that falls over is a finding, and the others still count
            findings.append(
                Finding(check.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}")
            )
    if asked.json:
        say_json([finding._asdict() for finding in findings])
    else:
        say(*lines(findings, coloured()))
    return 1 if any(finding.ok is False for finding in findings) else 0


def lines(findings: list[Finding], on: bool = False) -> list[str]:
    """The findings as people read them."""
    words = {True: paint("ok  ", "green", on), None: paint("look", "yellow", on), False: paint("BAD ", "red", on)}
    wide = max((len(finding.what) for finding in findings), default=0)
    shown = []
    for finding in findings:
        shown.append(f"{words[finding.ok]}  {finding.what:<{wide}}  {finding.detail}")
        if finding.hint and finding.ok is not True:
            shown.append(" " * (wide + 8) + finding.hint)
    return shown


def _state_directory() -> Iterator[Finding]:
    from elsewhere.config import home as place
    from elsewhere.errors import StateError
    from elsewhere.model.units import show_size

    try:
        path = place.home(write=True)
    except StateError as error:
        yield Finding("state directory", False, error.message, error.hint)
        return
    mode = path.stat().st_mode & 0o777
    private = mode & 0o077 == 0
    yield Finding("state directory", private or None, f"{path}, writable, mode {mode:04o}",
                  "" if private else f"Others may look into it: chmod 700 {path}")  # fmt: skip
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    yield Finding("room", free >= ROOM or None, f"{show_size(free)} free", "`elsewhere clean` removes old jobs.")
    if room.f_files:
        yield Finding(
            "inodes", room.f_favail > 10_000 or None, f"{room.f_favail:,} free", "Remove files you do not need."
        )
    kind = place.filesystem(path)
    network = place.is_network(path)
    yield Finding("file system", None if network else True, kind or "unknown",
                  "It is a network file system: set ELSEWHERE_HOME to a local directory for speed.")  # fmt: skip


def _sqlite() -> Iterator[Finding]:
    import apsw

    version = apsw.sqlite_lib_version()
    good = tuple(int(part) for part in version.split(".")) >= (3, 51, 3)
    yield Finding("sqlite", good, f"{version}, carried by apsw {apsw.apsw_version()}",
                  "Versions up to 3.51.2 can damage a ledger: upgrade apsw.")  # fmt: skip


def _interpreters() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "our python", sys.version_info >= (3, 11), f"{version}, {sys.executable}", "Elsewhere needs 3.11 or newer."
    )
    from elsewhere.cli.surroundings import interpreter
    from elsewhere.errors import ElsewhereError

    try:
        found = interpreter(None)
    except ElsewhereError as error:
        yield Finding("tasks' python", False, error.message, error.hint)
        return
    version = ".".join(map(str, found.version))
    yield Finding("tasks' python", True, f"{version}, {found.path}, the one {found.why}")


def _machine() -> Iterator[Finding]:
    from elsewhere.cli.surroundings import default_slots

    slots, why = default_slots()
    yield Finding("slots", True, f"{slots} by default: {why}")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding("open files", soft >= FILES or None, f"{_limit(soft)} (may be raised to {_limit(hard)})",
                  f"Many slots need more: ulimit -n {FILES}")  # fmt: skip
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    few = soft != resource.RLIM_INFINITY and soft < PROCESSES
    yield Finding(
        "processes", None if few else True, _limit(soft), f"Each slot is a process: ulimit -u {PROCESSES * 4}"
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != resource.RLIM_INFINITY:
        yield Finding("file size", None, _limit(soft), "Ledgers and output may grow larger: ulimit -f unlimited")


def _limit(value: int) -> str:
    import resource

    return "unlimited" if value == resource.RLIM_INFINITY else f"{value:,}"


def _clock() -> Iterator[Finding]:
    from elsewhere import __file__ as here

    now, installed = time.time(), os.stat(here).st_mtime  # noqa: PTH116
    right = now > installed - 86400
    yield Finding(
        "clock", right, time.strftime("%Y-%m-%d %H:%M:%S %z"), "It is earlier than our own files: set the clock."
    )


def _signing_key() -> Iterator[Finding]:
    from elsewhere.config.home import home

    path = home() / "key"
    if not path.exists():
        yield Finding("signing key", True, "none yet; it is made at first use")
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(
            "signing key", False, f"{path} has mode {mode:04o}", f"chmod 600 {path}, then `elsewhere key rotate`"
        )
        return
    import base64

    from elsewhere.ship import seal

    yield Finding("signing key", True, f"{base64.b64encode(seal.public()).decode()}, {path}")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _state_directory,
    _sqlite,
    _interpreters,
    _machine,
    _clock,
    _signing_key,
)
