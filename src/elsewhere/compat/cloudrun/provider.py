"""`from elsewhere.compat.cloudrun import provider`: `get_client(config)` gives the stages, on AWS."""

from __future__ import annotations

from typing import Any

from elsewhere import session
from elsewhere.compat.cloudrun import machines, runs, words
from elsewhere.compat.cloudrun.stages import CloudRunProvider
from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.things import CloudRunInstance, debug
from elsewhere.compat.cloudrun.words import Config

__all__ = ["AWSCloudRunProvider", "debug", "get_client", "init_instance_name"]


def get_client(config: Any) -> AWSCloudRunProvider:
    """The provider of this `config`. CloudRunError: all that is wrong with it; nothing was started."""
    return AWSCloudRunProvider(words.read(config))


def init_instance_name(instance_config: Config, dev: bool = False) -> str:
    """`cloudrun-PROJECT-HASH`, without the project if it is None; in `dev` without the hash, so that it stays."""
    from elsewhere.api.options import job_name

    own = {key: value for key, value in instance_config.items() if key in words.INSTANCE}
    parts = ["cloudrun", instance_config.get("project"), "dev" if dev else runs.digest(own)]
    return job_name("-".join(str(part) for part in parts if part))


class AWSCloudRunProvider(CloudRunProvider):
    """On the place `aws`."""

    def get_user_region(self) -> str:
        from elsewhere import aws

        return str(machines.base().settings.get("region") or aws.region())

    def get_recommended_cpus(self, inst_cfg: Config) -> list[int]:
        """How many CPUs of such an instance may be used. CloudRunError: there is no such type in its region."""
        return list(range(1, machines.kind(inst_cfg).cpus + 1))

    def get_cpus_cores(self, inst_cfg: Config) -> int:
        return machines.kind(inst_cfg).cpus

    def create_instance_objects(self, config: Config) -> list[CloudRunInstance]:
        """`number` of them, each of as many more as its `cpus` take, where it may `explode`."""
        most = machines.kind(config).cpus
        wanted = config["cpus"] or most
        if wanted > most and not config["explode"]:
            raise CloudRunError(f"cpus: {config['type']} has {most} CPUs, and {wanted} are asked for",
                                hint="With explode: True they are spread over several.")  # fmt: skip
        parts = [most] * (wanted // most) + [wanted % most] * bool(wanted % most)
        name = init_instance_name(config, dev=bool(config.get("dev")))
        found = list[CloudRunInstance]()
        for rank, cpus in enumerate(parts * config["number"], 1):
            found.append(CloudRunInstance(config, name if rank == 1 else f"{name}-{rank}", rank, cpus))
        return found

    def find_instance(self, config: Config) -> CloudRunInstance | None:
        """The first such one that is there, with what is known of it."""
        for run in self._runs:
            if run.instance.get_config_DIRTY() == config:
                runs.look(run)
                if run.instance.get_id():
                    return run.instance
        return None

    def start_instance(self, instance: CloudRunInstance) -> None:
        """With what is left of its jobs, if it has some; it boots when they are run."""
        self.debug(2, f"{instance.get_name()}: {instance.get_cpus()} CPUs of {instance.get_config('type')}")
        self._advance([run for run in self._runs if run.instance is instance])

    def stop_instance(self, instance: CloudRunInstance) -> None:
        """Its machine ends; what its jobs have not done is kept, and `start_instance` goes on with it."""
        for run in self._of(instance):
            self._begun.discard(id(run))
            if run.files is not None:
                session.stop(run.files, now=True)
            elif self._maestro is not None:
                raise CloudRunError("a remote maestro stops none", hint="terminate_instance() gives up its jobs.")

    def terminate_instance(self, instance: CloudRunInstance) -> None:
        """Its machine ends, and what its jobs have not done is given up."""
        for run in self._of(instance):
            self._begun.discard(id(run))
            if run.files is not None:
                session.cancel(run.files)
            elif self._maestro is not None:
                self._maestro.cancel(run.name)

    def update_instance_info(self, instance: CloudRunInstance) -> None:
        for run in self._of(instance):
            runs.look(run)
