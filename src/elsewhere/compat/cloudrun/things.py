"""The classes of CloudRun: what was asked for, and what became of it. What they do is done by `stages` and `runs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from elsewhere.compat.cloudrun import words
from elsewhere.compat.cloudrun.states import CloudRunError, CloudRunInstanceState, CloudRunJobState
from elsewhere.compat.cloudrun.words import Config


class CloudRunInstance:
    """One machine that was asked for; which one it is, is known once it is there."""

    def __init__(self, config: Config, name: str, rank: int = 1, cpus: int = 1) -> None:
        """`rank`: it is the so-many-th of its entry, from 1; `cpus`: how many of it are used."""
        self._config, self._name, self._rank, self._cpus = config, name, rank, cpus
        self._region, self._data = config["region"], dict[str, Any]()
        self._state = CloudRunInstanceState.UNKNOWN
        self._ip: str | None = None
        self._dns: str | None = None
        self._invalid = False
        self._jobs: list[CloudRunJob] = []

    def get_region(self) -> str | None:
        return self._region or self._data.get("region")

    def get_id(self) -> str | None:
        """The cloud's own name for it; None: it is not there yet."""
        return self._data.get("id")

    def get_name(self) -> str:
        return self._name

    def get_rank(self) -> int:
        return self._rank

    def get_ip_addr(self) -> str | None:
        """None, unless it was set: nobody needs to reach a machine from here."""
        return self._ip

    def get_dns_addr(self) -> str | None:
        return self._dns

    def get_cpus(self) -> int:
        return self._cpus

    def get_state(self) -> CloudRunInstanceState:
        return self._state

    def set_ip_addr(self, value: str | None) -> None:
        self._ip = value

    def set_dns_addr(self, value: str | None) -> None:
        self._dns = value

    def set_state(self, value: CloudRunInstanceState) -> None:
        self._state = value

    def set_invalid(self, value: bool) -> None:
        self._invalid = value

    def set_data(self, data: dict[str, Any]) -> None:
        self._data = data

    def get_data(self, key: str) -> Any:
        return self._data.get(key)

    def get_config(self, key: str) -> Any:
        return self._config.get(key)

    def get_config_DIRTY(self) -> Config:
        return self._config

    def append_job(self, job: CloudRunJob) -> None:
        self._jobs.append(job)

    def get_environments(self) -> list[CloudRunEnvironment]:
        """Of its jobs, each once."""
        found = [env for job in self._jobs if (env := job.get_env()) is not None]
        return list({env.get_name(): env for env in found}.values())

    def get_jobs(self) -> list[CloudRunJob]:
        return self._jobs

    def is_invalid(self) -> bool:
        return self._invalid

    def update_from_instance(self, instance: CloudRunInstance) -> None:
        """With what is known of the other; jobs and configuration stay its own."""
        self._region, self._data, self._state = instance._region, dict(instance._data), instance._state
        self._ip, self._dns = instance._ip, instance._dns


class CloudRunEnvironment:
    """Software that jobs need."""

    def __init__(self, name: str, config: Config) -> None:
        self._name, self._config = name, config

    def get_name(self) -> str:
        return self._name

    def get_path(self) -> str:
        """Below the directory of a machine's agent."""
        return "environment"

    def get_config(self, key: str) -> Any:
        return self._config.get(key)

    def deploy(self, instance: CloudRunInstance) -> CloudRunDeployedEnvironment:
        return CloudRunDeployedEnvironment(self, instance)


class CloudRunDeployedEnvironment(CloudRunEnvironment):
    """The same for the jobs of one instance."""

    def __init__(self, env: CloudRunEnvironment, instance: CloudRunInstance) -> None:
        super().__init__(env.get_name(), env._config)
        self._instance = instance

    def get_path_abs(self) -> str:
        """As a shell of a job reads it: where the agent's directory lies, the machine decides."""
        return "$VIRTUAL_ENV"

    def get_instance(self) -> CloudRunInstance:
        return self._instance

    def json(self) -> str:
        return json.dumps({"name": self._name, **{key: self._config.get(key) for key in words.ENVIRONMENT}})


class CloudRunJob:
    """A script or a command."""

    def __init__(self, config: Config, hash: str, rank: int) -> None:
        """`hash`: of its words, its files and their bytes; `rank`: its place in the configuration."""
        self._config, self._hash, self._rank = config, hash, rank
        self._env: CloudRunEnvironment | None = None
        self._instance: CloudRunInstance | None = None
        self._deployed: list[CloudRunDeployedJob] = []

    def attach_env(self, env: CloudRunEnvironment) -> None:
        self._env = env

    def get_hash(self) -> str:
        return self._hash

    def get_rank(self) -> int:
        return self._rank

    def get_config(self, key: str, defaultVal: Any = None) -> Any:
        found = self._config.get(key)
        return defaultVal if found is None else found

    def get_env(self) -> CloudRunEnvironment | None:
        return self._env

    def get_instance(self) -> CloudRunInstance | None:
        return self._instance

    def set_instance(self, instance: CloudRunInstance) -> None:
        self._instance = instance

    def deploy(self, dpl_env: CloudRunDeployedEnvironment | None) -> CloudRunDeployedJob:
        """`dpl_env` None: it needs no software."""
        made = CloudRunDeployedJob(self, dpl_env)
        self._deployed.append(made)
        return made

    def get_deployed_jobs(self) -> list[CloudRunDeployedJob]:
        return self._deployed

    def get_last_process(self) -> CloudRunProcess | None:
        found = [process for job in self._deployed for process in job.get_processes()]
        return found[-1] if found else None

    def has_completed(self) -> bool:
        last = self.get_last_process()
        return last is not None and last.get_state() == CloudRunJobState.DONE


class CloudRunDeployedJob(CloudRunJob):
    """A job on its instance, with its command."""

    def __init__(self, job: CloudRunJob, env: CloudRunDeployedEnvironment | None) -> None:
        super().__init__(job._config, job._hash, job._rank)
        self._job, self._dpl_env, self._processes = job, env, list[CloudRunProcess]()
        self._instance = job.get_instance()
        self._command: tuple[str, ...] = ()

    def get_env(self) -> CloudRunDeployedEnvironment | None:
        return self._dpl_env

    def get_job(self) -> CloudRunJob:
        return self._job

    def get_path(self) -> str:
        """Of its outputs, as `elsewhere results NAME --files -o DIRECTORY` lays them out."""
        return self._hash

    def get_command(self) -> str:
        """As a shell would have it."""
        import shlex

        return shlex.join(word or "python" for word in self._command)

    def set_command(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    def attach_process(self, process: CloudRunProcess) -> None:
        self._processes.append(process)

    def get_processes(self) -> list[CloudRunProcess]:
        return self._processes

    def attach_env(self, env: CloudRunEnvironment) -> NoReturn:
        raise CloudRunError("a deployed job has its environment", hint="Attach it to the job, and deploy that anew.")

    def deploy(self, dpl_env: CloudRunDeployedEnvironment | None) -> NoReturn:
        raise CloudRunError("this job is deployed", hint="Deploy the job that it was made of.")

    def set_instance(self, instance: CloudRunInstance) -> NoReturn:
        raise CloudRunError("a deployed job has its instance", hint="Set that of the job, and deploy it anew.")


class CloudRunProcess:
    """One run of a job."""

    def __init__(self, job: CloudRunDeployedJob, uid: str) -> None:
        """`uid`: the id of the job of ours that it belongs to."""
        self._job, self._uid = job, uid
        self._pid: int | None = None
        self._state = CloudRunJobState.UNKNOWN

    def get_uid(self) -> str:
        return self._uid

    def get_batch_uid(self) -> str:
        return self._uid

    def get_pid(self) -> int | None:
        """None, unless it was set: a process of another machine."""
        return self._pid

    def get_state(self) -> CloudRunJobState:
        return self._state

    def set_state(self, value: CloudRunJobState) -> None:
        self._state = value

    def set_pid(self, value: int | None) -> None:
        self._pid = value

    def get_job(self) -> CloudRunDeployedJob:
        return self._job

    def __repr__(self) -> str:
        return f"<CloudRunProcess {self._job.get_hash()} of {self._uid}: {self._state.name}>"


def debug(level: int, *args: object, **kwargs: Any) -> None:
    """Print on standard output. `color` has no effect: what colours mean is left to the words."""
    kwargs.pop("color", None)
    print(*args, **kwargs)  # noqa: T201 (what it is for)
