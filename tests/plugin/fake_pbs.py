"""A batch system in one script, called as qsub, qstat and qdel: its jobs are process groups of this machine.

Everything that it knows is in FAKE_PBS, a directory for each job.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

RUN = """trap : TERM; date +%s.%N >"$1/stime"; sh "$1/script" </dev/null >"$2" 2>&1; status=$?
[ -e "$1/deleted" ] && status=271; date +%s.%N >"$1/obittime"; echo $status >"$1/Exit_status" """


def main(name: str, words: list[str]) -> int:
    base = Path(os.environ["FAKE_PBS"])
    if "--version" in words:
        print("pbs_version = fake")
    elif name == "qsub":
        print(qsub(base, dict(zip(words[::2], words[1::2], strict=True))))
    elif name == "qstat":
        print(json.dumps({"Jobs": {path.name: told(path) for path in sorted(base.iterdir())}}))
    else:
        for native in words:
            qdel(base / native)
    return 0


def qsub(base: Path, given: dict[str, str]) -> str:
    native = f"{len(list(base.iterdir())) + 1}.fake"
    while True:
        try:
            (base / native).mkdir()
            break
        except FileExistsError:
            native = f"{int(native.partition('.')[0]) + 1}.fake"
    path = base / native
    (path / "script").write_text(sys.stdin.read())
    (path / "variables").write_text(given["-v"])
    env = {**os.environ, "PBS_JOBID": native}
    process = subprocess.Popen(["sh", "-c", RUN, "sh", path, f"{given['-o']}/{native}.OU"], env=env,
                               start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    (path / "pid").write_text(str(process.pid))
    return native


def told(path: Path) -> dict[str, object]:
    name, _, value = (path / "variables").read_text().partition("=") if (path / "variables").exists() else ("", "", "")
    found: dict[str, object] = {"Variable_List": {name: value}, "job_state": "Q"}
    for key in ("stime", "obittime"):
        with suppress(OSError, ValueError):
            found[key] = float((path / key).read_text())
    if "stime" in found:
        found["job_state"] = "R"
    with suppress(OSError, ValueError):
        found["Exit_status"] = int((path / "Exit_status").read_text())
        found["job_state"] = "F"
    return found


def qdel(path: Path) -> None:
    (path / "deleted").touch()
    with suppress(OSError, ValueError, ProcessLookupError):
        pid = int((path / "pid").read_text())
        os.killpg(pid, signal.SIGTERM)
        end = time.monotonic() + 5
        while time.monotonic() < end and not (path / "Exit_status").exists():
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
