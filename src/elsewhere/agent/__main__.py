"""`python -m elsewhere.agent ADDRESS ...`: what a boot text starts. It prints one line when it ends, and why."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, cast

from elsewhere.errors import ElsewhereError

if TYPE_CHECKING:
    from elsewhere.agent.join import Process
    from elsewhere.agent.meeting import Joining
    from elsewhere.channels.door import Door


def main(argv: list[str] | None = None) -> int:
    """0 when there was no more work or its time was over, 1 if it could not join, 2 for a wrong call."""
    given = _parse(argv)
    os.environ.pop("PYTHONPATH", None)  # what our own interpreter was told to search is not for those of tasks
    _load_lightly()
    try:
        door = _door(given)  # whoever dials is on the way while the rest of us is loaded
        from elsewhere.agent.meeting import knock

        joining = _joining(given)
        if given.failed is not None:
            from elsewhere.agent import failing

            failing.tell(joining, given.failed, given.log)
            return 0
        knocked = knock(joining, door)
        from elsewhere.agent.serve import serve

        why = serve(joining, _heed, knocked=knocked, bell=_bell())
    except ElsewhereError as error:
        print(f"elsewhere agent: {error.message}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    print(f"elsewhere agent {joining.agent}: {why}", file=sys.stderr)  # noqa: T201
    return 0


def _heed(process: Process) -> None:
    from elsewhere.hosts import own

    own.settle()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: process.stop())


def _load_lightly() -> None:
    """msgspec would load typing_extensions where there are any, for what our Python has itself."""
    found = sys.modules.setdefault("typing_extensions", cast(ModuleType, None))
    import msgspec

    del msgspec
    if found is None:
        del sys.modules["typing_extensions"]


def _bell() -> int:
    """Can be read when a signal has come: who waits for something to happen shall not sleep on."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


_KINDS: dict[str, tuple[Callable[[str], object], object]] = {
    "agent": (str, ""), "directory": (Path, Path()), "slots": (int, 1), "share": (int, 1), "final": (int, 0),
    "serves": (int, 0), "term": (float, 12 * 3600.0), "lease": (float, 120.0), "idle": (float, 60.0),
    "failed": (int, None), "log": (Path, Path()),
}  # fmt: skip
"""What a boot text may say (ship/script.py), and what holds if it does not. Read here: argparse takes a while to load,
and somebody waits for the first task."""


def _door(given: SimpleNamespace) -> Door | None:
    """The agent's directory, and its door if it is dialled there."""
    directory = given.directory.absolute()
    if not directory.is_dir():
        from elsewhere.hosts import private_directory

        private_directory(directory)
    if given.address != "door:" or given.failed is not None:
        return None
    from elsewhere.channels.door import Door

    return Door(directory)


def _parse(argv: list[str] | None) -> SimpleNamespace:
    given = SimpleNamespace(address="", **{name: default for name, (_, default) in _KINDS.items()})
    words = iter(sys.argv[1:] if argv is None else argv)
    for word in words:
        name = word.removeprefix("--")
        if word.startswith("--") and name in _KINDS:
            try:
                setattr(given, name, _KINDS[name][0](next(words)))
            except (StopIteration, ValueError):
                raise _wrong(f"{word} wants a value of its kind") from None
        elif given.address or word.startswith("-"):
            raise _wrong(f"nobody knows what {word} means")
        else:
            given.address = word
    given.agent = given.agent or f"agent-{os.getpid()}"
    if not given.address:
        raise _wrong("the address of a channel is missing: spool:..., pipe:...")
    return given


def _wrong(why: str) -> SystemExit:
    options = " ".join(f"[--{name} VALUE]" for name in _KINDS)
    print(f"elsewhere agent: {why}\nusage: python -m elsewhere.agent ADDRESS {options}", file=sys.stderr)  # noqa: T201
    return SystemExit(2)


def _joining(given: SimpleNamespace) -> Joining:
    from elsewhere.agent.meeting import Joining

    return Joining(
        given.address,
        given.agent,
        given.directory.absolute(),
        given.slots,
        timedelta(seconds=given.term),
        timedelta(seconds=given.lease),
        timedelta(seconds=given.idle),
        given.share,
        final=bool(given.final),
        serves=given.serves,
    )


if __name__ == "__main__":
    sys.exit(main())
