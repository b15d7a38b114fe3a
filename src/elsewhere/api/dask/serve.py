"""A cluster as a process of its own, which outlives whoever asked: `python -m elsewhere.api.dask.serve READY_FD`.

What is asked for comes on standard input, as JSON; what came of it goes down READY_FD.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from elsewhere.api.cluster import Cluster
from elsewhere.errors import ElsewhereError


def main(argv: list[str]) -> int:
    """Up until `elsewhere cluster down`, or SIGTERM; then 0."""
    asked, ready = json.load(sys.stdin), int(argv[0])
    os.set_inheritable(ready, False)  # what is started from here is not to keep it open
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    try:
        cluster = _begun(asked)
    except ElsewhereError as error:
        _tell(ready, {"error": error.message, "hint": error.hint, "status": error.exit_status})
        return error.exit_status
    except Exception as error:
        _tell(ready, {"error": f"{type(error).__name__}: {error}", "hint": "", "status": 70})
        traceback.print_exc()
        return 70
    _tell(ready, {"id": cluster.record.id})
    while not over.wait(0.2) and not cluster.record.ended:
        pass
    cluster.close()
    return 0


def _begun(asked: dict[str, Any]) -> Cluster:
    from elsewhere.api.dask import files
    from elsewhere.model.place import Place

    file = asked.pop("file", "")
    tags = files.read(Path(file)) if file else []
    cluster = Cluster.standing(Place(*asked.pop("place")), **asked)
    try:
        for tag in tags:
            tag.add(cluster)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _tell(fd: int, words: dict[str, Any]) -> None:
    with os.fdopen(fd, "w") as news:
        json.dump(words, news)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
