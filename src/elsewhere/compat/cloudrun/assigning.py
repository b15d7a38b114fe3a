"""Which job goes to which instance. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.things import CloudRunInstance, CloudRunJob


def assign(jobs: Sequence[CloudRunJob], instances: Sequence[CloudRunInstance], how: str) -> None:
    """`random`: to any that is large enough. `multi_knapsack`: packed, the largest first: each round fills as few
    instances as it can, and what does not fit waits for the next round. CloudRunError: one fits nowhere."""
    largest = max((one.get_cpus() for one in instances), default=0)
    for job in jobs:
        if (need := _need(job)) > largest:
            raise CloudRunError(f"a job wants {need} CPUs, and no instance has more than {largest}",
                                hint="Lower its cpus_req, or name a larger type.")  # fmt: skip
    for job, instance in _random(jobs, instances) if how == "random" else _packed(jobs, instances):
        job.set_instance(instance)
        instance.append_job(job)


def _need(job: CloudRunJob) -> int:
    return int(job.get_config("cpus_req", 1))


_Pairs = list[tuple[CloudRunJob, CloudRunInstance]]


def _random(jobs: Sequence[CloudRunJob], instances: Sequence[CloudRunInstance]) -> _Pairs:
    return [(job, random.choice([one for one in instances if one.get_cpus() >= _need(job)])) for job in jobs]


def _packed(jobs: Sequence[CloudRunJob], instances: Sequence[CloudRunInstance]) -> _Pairs:
    left = sorted(jobs, key=_need, reverse=True)
    found: _Pairs = []
    while left:
        room = [one.get_cpus() for one in instances]
        later = []
        for job in left:
            at = next((k for k, free in enumerate(room) if free >= _need(job)), None)
            if at is None:
                later.append(job)
            else:
                room[at] -= _need(job)
                found.append((job, instances[at]))
        left = later
    return found
