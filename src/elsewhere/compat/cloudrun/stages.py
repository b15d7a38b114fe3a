"""The stages of CloudRun, in their order: start, assign_jobs_to_instances, deploy, run_jobs; and how things stand."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elsewhere.compat.cloudrun import assigning, machines, runs, words
from elsewhere.compat.cloudrun.remote import Maestro
from elsewhere.compat.cloudrun.runs import Run
from elsewhere.compat.cloudrun.states import ENDED, CloudRunError, CloudRunInstanceState
from elsewhere.compat.cloudrun.states import CloudRunJobState as State
from elsewhere.compat.cloudrun.things import (
    CloudRunDeployedJob,
    CloudRunEnvironment,
    CloudRunInstance,
    CloudRunJob,
    CloudRunProcess,
    debug,
)
from elsewhere.compat.cloudrun.words import Config
from elsewhere.model import ids

_LOOK = (0.25, 2.0)
"""Seconds between two looks at the ledgers: the first, growing to the last."""


def _is_remote(config: Config) -> bool:
    return bool(config["maestro"] == "remote")


class CloudRunProvider(ABC):
    """Instances are machines of a place, which boot when they have work, and end with it."""

    def __init__(self, config: Config) -> None:
        """`config`: as `words.read` gives it."""
        self._config = config
        self._level = int(config["debug"])
        self._instances: list[CloudRunInstance] = []
        self._jobs: list[CloudRunJob] = []
        self._cwd = Path.cwd()
        self._runs: list[Run] = []
        self._begun: set[int] = set()
        self._maestro = Maestro(config, self._cwd, lambda line: self.debug(1, line)) if _is_remote(config) else None
        for note in words.notes(config):
            self.debug(1, note)

    def debug(self, level: int, *args: object, **kwargs: Any) -> None:
        """Print, if the configuration wants to hear of things of this level."""
        if level <= self._level:
            debug(level, *args, **kwargs)

    def get_instances(self) -> list[CloudRunInstance]:
        return self._instances

    def get_jobs(self) -> list[CloudRunJob]:
        return self._jobs

    # --- the stages ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at what the instances ask for. What they cost is shown by `deploy`; they boot when there is work."""
        common = {"project": self._config["project"], "dev": self._config["dev"]}
        self._instances = [
            one for given in self._config["instances"] for one in self.create_instance_objects({**given, **common})
        ]
        for instance in self._instances:
            self.start_instance(instance)
        environments = [CloudRunEnvironment(one["name"] or "environment", one) for one in self._config["environments"]]
        self._jobs = self._read_jobs({one.get_name(): one for one in environments})

    def _read_jobs(self, environments: dict[str, CloudRunEnvironment]) -> list[CloudRunJob]:
        found, seen = list[CloudRunJob](), set[str]()
        for rank, config in enumerate(self._config["jobs"], 1):
            name = config["env_name"]
            env = environments[name] if name else next(iter(environments.values()), None)
            about = None if env is None else env._config
            hash = runs.hash_of(config, about, self._cwd, seen)
            if self._config["dev"] and not self._config["recover"]:
                hash += f"-{ids.new('run')[-8:]}"  # its machine may have done the same before
            job = CloudRunJob(config, hash, rank)
            if env is not None:
                job.attach_env(env)
            found.append(job)
        return found

    def assign_jobs_to_instances(self) -> None:
        if not self._instances:
            raise CloudRunError("there are no instances yet", hint="Call start() first.")
        if any(job.get_instance() is not None for job in self._jobs):
            return
        assigning.assign(self._jobs, self._instances, self._config["job_assign"])
        for job in self._jobs:
            self.debug(2, f"{job.get_hash()} goes to {runs.instance_of(job).get_name()}")

    def deploy(self) -> None:
        """Environments are resolved, files are found, machines are chosen. Nothing is launched. Twice: harmless."""
        if self._runs:
            return
        level = 0 if self._config["print_deploy"] else 2
        for job in self._jobs:
            runs.instance_of(job)
        for instance in self._instances:
            made = []
            for job in (one for one in self._jobs if one.get_instance() is instance):
                env = job.get_env()
                deployed = job.deploy(None if env is None else env.deploy(instance))
                deployed.set_command(runs.command(job._config, self._cwd))
                made.append(deployed)
                self.debug(level, f"{instance.get_name()}: {deployed.get_hash()}  {deployed.get_command()}")
            self._runs += runs.grouped(instance, made, self._cwd)
        for run in self._runs:
            self._prepare(run)

    def run_jobs(self, wait: bool = False) -> list[CloudRunProcess]:
        """Begin them all; the processes, one for each job. `wait`: until all have ended."""
        self._require_deployed()
        self._advance(self._runs)
        processes = [process for run in self._runs for process in run.processes]
        return self.wait_for_jobs_state(ENDED, processes) if wait else self.get_jobs_states(processes)

    def run_job(self, job: CloudRunJob, wait: bool = False) -> CloudRunProcess:
        """Begin one of them alone, if it has not begun with the others."""
        self._require_deployed()
        found = job.get_deployed_jobs()[-1] if not isinstance(job, CloudRunDeployedJob) else job
        run = next((one for one in self._runs if found in one.jobs), None)
        if run is None:
            raise CloudRunError(f"the job {job.get_hash()} is not deployed here")
        if run.files is None and run.spec is not None and len(run.jobs) > 1:
            run.jobs.remove(found)
            self._name(run)
            run.spec = replace(run.spec, name=run.name)
            run = Run("", run.instance, [found], runs.given(found._config, self._cwd))
            self._runs.append(run)
            self._prepare(run)
        self._advance([run])
        [process] = [one for one in run.processes if one.get_job() is found]
        return self.wait_for_jobs_state(ENDED, [process])[0] if wait else self.get_jobs_states([process])[0]

    def wait_for_jobs_state(
        self, job_state: State, processes: Iterable[CloudRunProcess] | None = None
    ) -> list[CloudRunProcess]:
        """Until each is in one of these states (they are joined by |), or has ended."""
        pause = _LOOK[0]
        wanted = None if processes is None else list(processes)
        while True:
            found = self.get_jobs_states(wanted)
            if all(one.get_state() & (job_state | ENDED) for one in found):
                return found
            time.sleep(pause)
            pause = min(pause * 1.5, _LOOK[1])

    def get_jobs_states(self, processes: Iterable[CloudRunProcess] | None = None) -> list[CloudRunProcess]:
        """The same, or all, each with its state as it is now."""
        self._require_deployed()
        self._advance([run for run in self._runs if id(run) in self._begun])
        if not self._look_there():
            for run in self._runs:
                runs.look(run)
        return list(processes) if processes is not None else [one for run in self._runs for one in run.processes]

    def told(self) -> dict[str, Any]:
        """How all stands, as JSON can carry it: for a program that is not here."""
        processes = self.get_jobs_states()
        return {
            "runs": {run.name: run.files.id for run in self._runs if run.files is not None},
            "jobs": {one.get_job().get_hash(): int(one.get_state()) for one in processes},
            "instances": {one.get_name(): [int(one.get_state()), one._data] for one in self._instances},
        }

    def print_jobs_summary(self, instance: CloudRunInstance | None = None) -> None:
        """A line for each process, and how to see more."""
        self.get_jobs_states()
        for run in self._runs:
            if instance is None or run.instance is instance:
                where = run.instance.get_id() or "no machine yet"
                debug(0, f"{run.instance.get_name()} ({where}, {run.instance.get_state().name}), as {run.name}")
                for one in run.processes:
                    debug(0, f"  {one.get_job().get_hash()}  {one.get_state().name:<8} {one.get_job().get_command()}")
                if why := run.instance.get_data("why"):
                    debug(0, f"  {why}")

    # --- what a cloud does ---------------------------------------------------------------------------------------

    @abstractmethod
    def get_user_region(self) -> str: ...

    @abstractmethod
    def get_recommended_cpus(self, inst_cfg: Config) -> list[int]: ...

    @abstractmethod
    def create_instance_objects(self, config: Config) -> list[CloudRunInstance]: ...

    @abstractmethod
    def find_instance(self, config: Config) -> CloudRunInstance | None: ...

    @abstractmethod
    def start_instance(self, instance: CloudRunInstance) -> None: ...

    @abstractmethod
    def stop_instance(self, instance: CloudRunInstance) -> None: ...

    @abstractmethod
    def terminate_instance(self, instance: CloudRunInstance) -> None: ...

    @abstractmethod
    def update_instance_info(self, instance: CloudRunInstance) -> None: ...

    # --- below the surface ---------------------------------------------------------------------------------------

    def _of(self, instance: CloudRunInstance) -> list[Run]:
        return [run for run in self._runs if run.instance is instance]

    def _require_deployed(self) -> None:
        if not self._runs:
            raise CloudRunError(
                "nothing is deployed yet", hint="Call start, assign_jobs_to_instances and deploy first."
            )

    def _advance(self, wanted: Sequence[Run]) -> None:
        """Begin these; of one instance one after another, for it is one machine. What lost its controller goes on."""
        if self._maestro is not None and not self._maestro.is_home:
            return self._leave_to(self._maestro, wanted)
        for run in wanted:
            first = id(run) not in self._begun
            self._begun.add(id(run))
            runs.make(run, self._config["recover"], self._config["dev"])
            assert run.files is not None
            earlier = self._of(run.instance)
            earlier = [one for one in earlier[: earlier.index(run)] if id(one) in self._begun]
            if all(runs.is_done(one) for one in earlier) and (first or not runs.refused(run.files)):
                runs.start(run)

    def _leave_to(self, maestro: Maestro, wanted: Sequence[Run]) -> None:
        """All are begun there at once, and by that one alone."""
        if not wanted or all(run.files is not None and runs.is_done(run) for run in self._runs):
            return
        for run in self._runs:
            self._begun.add(id(run))
            if not run.processes:
                run.processes = [CloudRunProcess(job, run.name) for job in run.jobs]
                for process in run.processes:
                    process.get_job().attach_process(process)
        maestro.begin([run.name for run in self._runs])

    def _look_there(self) -> bool:
        """Write down how things stand where the maestro is; False: that is here."""
        told = self._maestro.told() if self._maestro is not None else None
        if told is None:
            for run in self._runs if self._maestro is not None else ():
                run.files = run.files or runs.known(run.name)
            return False
        for process in (one for run in self._runs for one in run.processes):
            process.set_state(State(told["jobs"].get(process.get_job().get_hash(), 0)))
        for instance in self._instances:
            state, data = told["instances"].get(instance.get_name(), (0, {}))
            instance.set_state(CloudRunInstanceState(state))
            instance.set_data(data)
        return True

    def _name(self, run: Run) -> None:
        envs = sorted({env.json() for job in run.jobs if (env := job.get_env()) is not None})
        own = self._of(run.instance).index(run) if self._config["dev"] else [job.get_hash() for job in run.jobs]
        run.name = f"{run.instance.get_name()[:80]}.{runs.digest([run.instance.get_name(), envs, own])[:8]}"

    def _prepare(self, run: Run) -> None:
        """Its name, and the machine that it will ask for, at its price. What is there of it already goes on."""
        self._name(run)
        dev = bool(self._config["dev"])
        if self._config["recover"] and not dev and (old := runs.known(run.name)) is not None:
            run.files = old
            self.debug(1, f"{run.name} is {'done' if runs.is_done(run) else 'there, and goes on'}")
            return
        run.spec = made = machines.spec(run, self._cwd, len(self._runs), dev)
        self.debug(1, machines.said(run, made))
