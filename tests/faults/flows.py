"""The flows whose every write is a moment to die at: `python flows.py FLOW DIRECTORY TASKS`, state in ELSEWHERE_HOME.

Each prints a line when what it did is acknowledged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from elsewhere import session
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask

JOB = "job-00000000000000000000000001"
HERE = Path(__file__).parent


def submit(directory: Path, tasks: int) -> session.JobFiles:
    spec = JobSpec(JOB, "flow", Entry("function", f"{HERE / 'work.py'}:mark"), slots=2, python=sys.executable,
                   cwd=str(directory))  # fmt: skip
    body = {"path": str(directory / "marks")}
    return session.create(spec, (NewTask(f"t{k}", json.dumps({**body, "line": str(k)}).encode()) for k in range(tasks)))


def large(directory: Path) -> session.JobFiles:
    spec = JobSpec(JOB, "large", Entry("function", f"{HERE / 'work.py'}:large"), slots=1, python=sys.executable,
                   cwd=str(directory))  # fmt: skip
    return session.create(spec, [NewTask("one", b"{}")])


def main(flow: str, directory: Path, tasks: int) -> None:
    if flow == "submit":
        submit(directory, tasks)
    elif flow == "run":
        session.run_here(session.find(JOB), heard=lambda reports: print("heard", len(reports), flush=True))
    elif flow == "large":
        session.run_here(large(directory))
    elif flow == "cancel":
        session.cancel(session.find(JOB))
    print("acknowledged", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
