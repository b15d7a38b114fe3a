"""From the jobs of an instance to jobs of ours: those that share an environment, and whose files do not clash, are one.

Each is a task under its hash. Made, begun again and asked how it stands; nothing else is done here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elsewhere import session
from elsewhere.api import entries
from elsewhere.compat.cloudrun import keeping
from elsewhere.compat.cloudrun.states import OF_MACHINES, OF_TASKS, CloudRunError, CloudRunInstanceState
from elsewhere.compat.cloudrun.states import CloudRunJobState as State
from elsewhere.compat.cloudrun.things import CloudRunDeployedJob, CloudRunInstance, CloudRunJob, CloudRunProcess
from elsewhere.errors import StateError, UnknownJob
from elsewhere.ledger.allocations import allocations
from elsewhere.model.job import Input, JobSpec
from elsewhere.model.states import AllocationState, TaskState
from elsewhere.model.task import NewTask

_ENDS = ("gave up", "stopped early")
_BEGINS = ("resumed", "created")


@dataclass
class Run:
    """A job of ours. `files`: None before it is begun."""

    name: str
    instance: CloudRunInstance
    jobs: list[CloudRunDeployedJob]
    inputs: dict[str, str] = field(default_factory=dict)
    spec: JobSpec | None = None
    files: session.JobFiles | None = None
    processes: list[CloudRunProcess] = field(default_factory=list)


# --- what a job is made of ------------------------------------------------------------------------------------------


def given(config: Any, cwd: Path) -> dict[str, str]:
    """What a job finds beside what is in the directory: a name -> a path. CloudRunError: it is not there."""
    found: dict[str, str] = {}
    named = [*config["upload_files"], *([config["input_file"]] if config["input_file"] else [])]
    for text in named:
        path = cwd / Path(text).expanduser()
        if not path.exists():
            raise CloudRunError(f"there is no file {text} to upload")
        if found.get(path.name, str(path)) != str(path):
            raise CloudRunError(f"{found[path.name]} and {path} would both be called {path.name}")
        found[path.name] = str(path)
    return found


def command(config: Any, cwd: Path) -> tuple[str, ...]:
    """CloudRunError, UsageError: its script is not there."""
    if config["run_script"] is None:
        return ("sh", "-c", config["run_command"])
    words = entries.script(config["run_script"], cwd, "run_script")
    entries.check_script(words, cwd, "run_script")
    return words


def digest(facts: object, files: Iterable[Path] = ()) -> str:
    """Sixteen digits of what is said, and of the bytes of these files and of all in these directories."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for path in files:
        for one in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            found.update(hashlib.sha256(one.read_bytes()).digest())
    return found.hexdigest()[:16]


def grouped(instance: CloudRunInstance, jobs: Sequence[CloudRunDeployedJob], cwd: Path) -> list[Run]:
    """In their order."""
    runs: list[Run] = []
    for job in jobs:
        files, env = given(job._config, cwd), job.get_env()
        for run in runs:
            other = run.jobs[0].get_env()
            same = (env and env.get_name()) == (other and other.get_name())
            if same and all(run.inputs.get(name, path) == path for name, path in files.items()):
                break
        else:
            run = Run("", instance, [])
            runs.append(run)
        run.jobs.append(job)
        run.inputs.update(files)
    return runs


def files_of(run: Run) -> dict[str, Any]:
    """Inputs and outputs, as fields of a JobSpec."""
    from elsewhere.ship import inputs

    outputs = {job.get_config("output_file"): None for job in run.jobs if job.get_config("output_file")}
    found = tuple(Input(name, path) for name, path in run.inputs.items())
    return {"inputs": found, "outputs": inputs.globs(list(outputs))}


def tasks(run: Run) -> list[NewTask]:
    found = []
    for job in run.jobs:
        output = job.get_config("output_file")
        own = {"command": list(job._command), "cpus": job.get_config("cpus_req", 1), "outputs": [output] * bool(output)}
        found.append(NewTask(job.get_hash(), b"null", json.dumps(own).encode()))
    return found


# --- making, beginning, asking --------------------------------------------------------------------------------------


def known(name: str) -> session.JobFiles | None:
    """The newest job of this name, or None."""
    try:
        found = session.find(name)
    except UnknownJob:
        return None
    with closing(found.open()) as ledger:
        return found if ledger.spec.name == name else None


def make(run: Run, recover: bool, dev: bool = False) -> None:
    """Its job, with a process for each of its jobs. With `recover` what is there goes on; in `dev` its machine takes
    more. Twice: harmless."""
    if run.files is None and (recover or dev):
        run.files = known(run.name)
        if dev and run.files is not None and not _handed(run, run.files):
            run.files = None
    if run.files is None:
        assert run.spec is not None
        run.files = session.create(run.spec, tasks(run), complete=not dev)
    if not run.processes:
        run.processes = [CloudRunProcess(job, run.files.id) for job in run.jobs]
        for process in run.processes:
            process.get_job().attach_process(process)


def start(run: Run) -> None:
    """What is left of it is run, if nobody does."""
    if run.files is not None and not is_done(run) and session.holder(run.files) is None:
        try:
            session.detach(run.files)
        except StateError:
            if session.holder(run.files) is None:  # else another program was faster
                raise


def is_done(run: Run) -> bool:
    """Whether all that it has have ended."""
    if run.files is None:
        return False
    with closing(run.files.open()) as ledger:
        counts = ledger.count()
    return bool(counts.ended == counts.total)


def _handed(run: Run, files: session.JobFiles) -> bool:
    """Whether a machine that is kept has taken what is new. One that is gone still tells of what is done."""
    given = {job.get_hash(): keeping.files_of(job._command, run.inputs, Path.cwd()) for job in run.jobs}
    if not keeping.takes_more(files):
        with closing(files.open()) as ledger:
            return all(ledger.task(name) is not None for name in given)
    return keeping.hand(files, tasks(run), given)


def refused(files: session.JobFiles) -> str:
    """Why nobody runs what is left of it, nor will; empty: somebody does, or could."""
    if session.holder(files) is not None:
        return ""
    with closing(files.open()) as ledger:
        ends = [event for event in ledger.events() if event.kind in (*_ENDS, *_BEGINS)]
    return str(ends[-1].detail.get("why") or "too many failed") if ends and ends[-1].kind in _ENDS else ""


def look(run: Run) -> None:
    """Write into its processes, and its instance, how they stand."""
    if run.files is None:
        return
    why = refused(run.files)  # before the counts: what its controller did before it went is then in them
    with closing(run.files.open()) as ledger:
        machines = allocations(ledger)
        running = {task for task, _ in ledger.live().get("running", ())}
        views = {process: ledger.task(process.get_job().get_hash()) for process in run.processes}
    there = any(one.state is AllocationState.RUNNING for one in machines)
    for process, view in views.items():
        process.set_state(State.UNKNOWN if view is None else _state(view, running, there, bool(why)))
    if machines:
        last = machines[-1]
        run.instance.set_state(OF_MACHINES[last.state])
        zone = last.offer.zone
        run.instance.set_data({"id": last.native or None, "zone": zone, "region": zone[:-1], "why": why})
    elif why:
        run.instance.set_state(CloudRunInstanceState.UNKNOWN)
        run.instance.set_data({"why": why})


def state(files: session.JobFiles, task: str) -> State:
    """Of one job, by its hash. UnknownJob: there is none."""
    why = refused(files)
    with closing(files.open()) as ledger:
        view = ledger.task(task)
        running = {name for name, _ in ledger.live().get("running", ())}
        there = any(one.state is AllocationState.RUNNING for one in allocations(ledger))
    if view is None:
        raise UnknownJob(f"there is no job {task} in {files.id}")
    return _state(view, running, there, bool(why))


def _state(view: Any, running: set[str], there: bool, refused: bool) -> State:
    if view.state in OF_TASKS:
        return OF_TASKS[view.state]
    if refused:
        return State.ABORTED
    if view.state is TaskState.HANDED_OUT:
        return State.RUNNING if view.id in running or len(running) >= 20 else State.IDLE if there else State.WAIT
    return State.QUEUE if there else State.WAIT


def hash_of(config: Any, env: Any, cwd: Path, seen: set[str]) -> str:
    """Of a job; one that is written twice counts twice."""
    words = command(config, cwd)
    files = [Path(path) for path in given(config, cwd).values()]
    files += [cwd / word for word in words if config["run_script"] and (cwd / word).is_file()]
    named = [] if env is None else [env["env_pypi"], env["env_conda"]]
    files += [cwd / name for name in named if isinstance(name, str) and (cwd / name).is_file()]
    found = first = digest([config, env], files)
    number = 2
    while found in seen:
        found = f"{first}-{number}"
        number += 1
    seen.add(found)
    return found


def instance_of(job: CloudRunJob) -> CloudRunInstance:
    instance = job.get_instance()
    if instance is None:
        raise CloudRunError("no job has an instance yet", hint="Call assign_jobs_to_instances() first.")
    return instance
