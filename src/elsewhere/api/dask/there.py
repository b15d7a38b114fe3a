"""What answers, on a host where clusters sit, whoever asks from afar (afar.py): one JSON object in, one out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from elsewhere.errors import ElsewhereError

_PATIENCE = 800.0
"""Seconds that a cluster has to answer: it may build an environment."""


def _up(asked: dict[str, Any], text: str, **_: Any) -> dict[str, Any]:
    from elsewhere.api.dask import detached, records
    from elsewhere.ship import certificates

    if text:
        path = Path.cwd().parent / "containers.yaml"
        path.write_text(text)
        asked["file"] = str(path)
    asked["name"] = asked["name"] or records.free_name("cluster")
    record = detached.up(**asked)
    papers = certificates.papers(record.directory)
    return {"record": asdict(record), "papers": [Path(path).read_text() for path in asdict(papers).values()]}


def _ask(cluster: str, words: dict[str, Any], **_: Any) -> Any:
    from elsewhere.api.dask import records
    from elsewhere.controller import control

    record = records.find(cluster)
    return control.ask(record.control, words, _PATIENCE) if record.alive else None


def _down(cluster: str, **_: Any) -> None:
    from elsewhere.api.dask.attached import Attached

    Attached(cluster).down()


def _sweep(cluster: str, **_: Any) -> int:
    from elsewhere.api.dask import detached, records

    record = records.find(cluster)
    if not record.alive:
        return detached.sweep(record)
    _down(cluster)
    return 0


def _log(cluster: str, tag: str, number: str, **_: Any) -> dict[str, Any]:
    from elsewhere.api.dask import records
    from elsewhere.ship.dask_worker import log_of

    path = log_of(records.find(cluster).directory, tag, number)
    known = sorted(each.stem.replace("-", "/", 1) for each in path.parent.glob("*.log"))
    return {"text": path.read_text("utf-8", "replace") if path.is_file() else None, "known": known}


def _container(tag: str, words: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Its software, had or built on this host; where that lies."""
    from elsewhere.api.dask import post

    return post.settled(post.here(tag, words, Path.cwd()))


ACTS: Mapping[str, Callable[..., Any]] = {
    "up": _up, "ask": _ask, "down": _down, "sweep": _sweep, "log": _log, "container": _container,
}  # fmt: skip


def main() -> int:
    asked, base = json.loads(sys.stdin.readline()), Path(sys.prefix).parent
    os.environ["ELSEWHERE_HOME"] = str(base / "home")
    work = base / "work" / asked.pop("work") / "project"
    os.chdir(work if work.is_dir() else base)
    try:
        answer = {"told": ACTS[asked.pop("do")](**asked)}
    except ElsewhereError as error:
        answer = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
