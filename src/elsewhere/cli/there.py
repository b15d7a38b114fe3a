"""What answers on a machine where controllers sit: `elsewhere`, with words that come in the first line of its input.

The line is a JSON object: `words`; `work`, the directory that the job is run from, and `at`, where in it; `env`,
variables, secrets among them, which so stand in no command line; `seated`, the place that this is, and what of its
settings is otherwise here; `fetch`: what the command writes into files goes to
standard output as one archive. When the input ends, whoever asked is gone, and what is still going on is interrupted,
unless it `stays`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Any

from elsewhere.__main__ import main as elsewhere
from elsewhere.config import seated

_CHUNK = 1 << 16


def main() -> int:
    asked, base = _read(), Path(sys.prefix).parent
    os.environ.update({"ELSEWHERE_HOME": str(base / "home"), **asked.get("env", {})})
    if here := asked.get("seated"):
        seated.sit(here["name"], here["settings"], asked.get("env", {}))
    work = base / "work" / asked["work"]
    words = sys.argv[1:] = asked["words"]
    if asked.get("fetch"):
        return _fetched(words, work)
    at = work / asked.get("at", "")
    os.chdir(at if at.is_dir() else base)
    if not asked.get("stays"):
        threading.Thread(target=_heed, daemon=True).start()
    status = elsewhere(words)
    if status != 0 if words[0] == "run" else status == 0 and words[0] == "rm":
        os.chdir(base)
        shutil.rmtree(work, ignore_errors=True)
    return status


def _read() -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n") and (piece := os.read(0, _CHUNK)):
        data += piece
    found: dict[str, Any] = json.loads(data)
    return found


def _heed() -> None:
    while os.read(0, _CHUNK):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _fetched(words: list[str], work: Path) -> int:
    with tempfile.TemporaryDirectory(dir=work.parent) as folder:
        os.chdir(folder)
        status = elsewhere(words)
        if status == 0:
            with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
                for path in sorted(Path(folder).rglob("*")):
                    if path.is_file():
                        tar.add(path, str(path.relative_to(folder)), recursive=False)
        os.chdir(work.parent)
    return status


if __name__ == "__main__":
    sys.exit(main())
