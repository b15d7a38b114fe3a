"""Starts a cluster in a process of its own, and cleans up behind one whose process is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

from elsewhere.api.dask import records
from elsewhere.config.home import home
from elsewhere.errors import Refused, StateError, UsageError
from elsewhere.hosts import private_directory


def up(**asked: Any) -> records.Record:
    """The record of a cluster that is up, with its workers asked for. Errors as of Cluster, and of files.

    `file`: of containers; `place`: its name, backend and settings; the rest: of engine.begin.
    """
    reader, writer = os.pipe()
    private_directory(home() / "clusters")
    log = home() / "clusters" / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "elsewhere.api.dask.serve", str(writer)], stdin=subprocess.PIPE, stdout=out,
            stderr=out, pass_fds=(writer,), start_new_session=True, text=True,
        )  # fmt: skip
    os.close(writer)
    assert process.stdin is not None
    with process.stdin as words:
        json.dump(asked, words, default=list)
    answer: dict[str, Any] = {}
    try:
        with os.fdopen(reader) as news:
            for line in news:
                answer = json.loads(line)
                if "say" in answer:
                    sys.stderr.write(answer["say"])
    except KeyboardInterrupt:
        process.terminate()  # what has begun ends with it, and may cost money until then
        process.wait()
        raise
    if "id" in answer:
        return records.find(answer["id"])
    process.wait()
    if answer.get("status") == UsageError.exit_status:
        raise UsageError(answer["error"], hint=answer["hint"])
    if answer.get("status") == Refused.exit_status:
        raise Refused(answer["error"], hint=answer["hint"])
    raise StateError(answer.get("error") or f"the cluster ended at once; {log} has what it said")


def sweep(record: records.Record) -> int:
    """End what a cluster whose process is gone has left at its place, by its labels; how many. Twice: harmless."""
    from elsewhere import session
    from elsewhere.model.place import Place

    record.require_here()
    place = Place(record.place, record.backend, record.settings)
    hold = session.keep(place, record.id, lambda _: "")
    left = len(hold.owned())
    hold.close()
    if record.distant:
        from elsewhere.api.dask import quarters

        quarters.clear(hold, record)
    if not record.ended:
        replace(record, ended=time.time()).write()
    return left
