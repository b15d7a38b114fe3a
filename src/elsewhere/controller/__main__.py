"""A controller as a process of its own: `python -m elsewhere.controller DIRECTORY [READY_FD]`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from elsewhere.controller.controller import Controller
from elsewhere.controller.drive import drive
from elsewhere.controller.files import JobFiles
from elsewhere.controller.stop import Stop
from elsewhere.errors import ElsewhereError
from elsewhere.hosts import own


def main(argv: list[str]) -> int:
    """Run the job of a directory; a byte down READY_FD says that it is ours, a line that it cannot be."""
    directory = Path(argv[0])
    ready_fd = int(argv[1]) if len(argv) > 1 else -1
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.soft())
    signal.signal(signal.SIGINT, lambda *_: stop.soft())

    def tell(text: bytes) -> None:
        nonlocal ready_fd
        if ready_fd >= 0:
            os.write(ready_fd, text)
            os.close(ready_fd)
            ready_fd = -1

    def ready(controller: Controller) -> None:
        own.settle()
        controller.closing = True  # nobody will add to it
        tell(b"+")

    try:
        drive(JobFiles(directory.name, directory), stop, ready=ready)
    except ElsewhereError as error:
        tell(error.message.encode())
        print(error.message, file=sys.stderr)  # noqa: T201  (its standard error is the job's log)
        return error.exit_status
    except Exception as error:
        tell(f"{type(error).__name__}: {error}".encode())
        traceback.print_exc()
        return 70
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
