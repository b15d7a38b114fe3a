"""A cluster as a process of its own, which outlives whoever asked: `python -m elsewhere.api.dask.serve READY_FD`.

What is asked for comes on standard input, as JSON; what is said meanwhile, and what came of it, goes down READY_FD.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from elsewhere.api.cluster import Cluster
from elsewhere.api.dask import records
from elsewhere.errors import ElsewhereError

if TYPE_CHECKING:
    from elsewhere.model.place import Place


def main(argv: list[str]) -> int:
    """Up until `elsewhere cluster down`, or SIGTERM; then 0. 130: it was told to end before it was up, and has."""
    asked, ready = json.load(sys.stdin), int(argv[0])
    os.set_inheritable(ready, False)  # what is started from here is not to keep it open
    over, is_up = threading.Event(), threading.Event()

    def ends(*_: object) -> None:
        told = over.is_set()
        over.set()
        if not told and not is_up.is_set():
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ends)
    news = os.fdopen(ready, "w", buffering=1)
    records.TELLS.append(lambda line: _tell(news, {"say": line}))
    try:
        cluster = _begun(asked)
        is_up.set()
    except KeyboardInterrupt:
        return 130
    except ElsewhereError as error:
        _tell(news, {"error": error.message, "hint": error.hint, "status": error.exit_status})
        return error.exit_status
    except Exception as error:
        _tell(news, {"error": f"{type(error).__name__}: {error}", "hint": "", "status": 70})
        traceback.print_exc()
        return 70
    records.TELLS.pop()
    with news:
        _tell(news, {"id": cluster.record.id})
    while not over.wait(0.2) and not cluster.record.ended:
        pass
    cluster.close()
    return 0


def _begun(asked: dict[str, Any]) -> Cluster:
    from elsewhere.api.dask import files

    file = asked.pop("file", "")
    tags = files.read(Path(file)) if file else []
    cluster = Cluster.standing(_place(*asked.pop("place")), **asked)
    try:
        for tag in tags:
            tag.add(cluster)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _place(name: str, backend: str, settings: dict[str, Any]) -> Place:
    """As it was asked for; what is asked of its machines, and its limits, as the settings have them here."""
    from elsewhere.config import load
    from elsewhere.model.place import Place

    known = load.current().places().get(name)
    if known is None or known.backend != backend:
        return Place(name, backend, settings)
    return replace(known, settings=settings)


def _tell(news: TextIO, words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        news.write(json.dumps(words) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
