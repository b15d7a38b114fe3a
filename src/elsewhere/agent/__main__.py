"""`python -m elsewhere.agent ADDRESS ...`: what a boot text starts. It prints one line when it ends, and why."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from elsewhere.agent import failing
from elsewhere.agent.join import Joining, Process
from elsewhere.agent.serve import serve
from elsewhere.errors import ElsewhereError
from elsewhere.hosts import private_directory


def main(argv: list[str] | None = None) -> int:
    """0 when there was no more work or its time was over, 1 if it could not join, 2 for a wrong call."""
    given = _parse(argv)
    joining = _joining(given)
    os.environ.pop("PYTHONPATH", None)  # what our own interpreter was told to search is not for those of tasks
    try:
        private_directory(joining.directory)
        if given.failed is not None:
            failing.tell(joining, given.failed, given.log)
            return 0
        why = serve(joining, _heed)
    except ElsewhereError as error:
        print(f"elsewhere agent: {error.message}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    print(f"elsewhere agent {joining.agent}: {why}", file=sys.stderr)  # noqa: T201
    return 0


def _heed(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: process.stop())


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m elsewhere.agent", allow_abbrev=False)
    parser.add_argument("address", help="of the channel: spool:..., pipe:...")
    parser.add_argument("--agent", default=f"agent-{os.getpid()}", help="its name: the machine's own")
    parser.add_argument("--directory", type=Path, default=Path(), help="its own, for what it must not lose")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--share", type=int, default=1, help="so many agents share the machine")
    parser.add_argument("--final", type=int, default=0, help="1: its term will not grow")
    parser.add_argument("--serves", type=int, default=0, help="so many tasks in all; 0: as many as there are")
    for name, default in (("--term", 12 * 3600), ("--lease", 120), ("--idle", 60)):
        parser.add_argument(name, type=float, default=float(default), help="seconds")
    parser.add_argument("--failed", type=int, metavar="STATUS", help="only tell that the startup script ended so")
    parser.add_argument("--log", type=Path, default=Path(), help="what that script printed")
    return parser.parse_args(argv)


def _joining(given: argparse.Namespace) -> Joining:
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
