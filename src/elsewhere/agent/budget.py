"""What this machine has for the tasks of one job, and whether one more finds room beside those that run.

Knows no slot and starts nothing: who gives tasks to slots asks (feeding.py).
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection, Iterable

from elsewhere import machine
from elsewhere.agent.boot import Boot
from elsewhere.model.resources import Resources
from elsewhere.model.task import Delivery

_ROUNDING = 1e-9
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Budget:
    """The machine as a job of `slots` slots sees it. Each of those counts as a CPU, should there be fewer CPUs.

    When other jobs share the machine and leave this one fewer slots, as much smaller is its part of all the rest.
    """

    def __init__(self, boot: Boot, slots: int, share: int = 1) -> None:
        """`share`: how many agents share the machine; all but its GPUs is divided among them."""
        self.plain, self.slots, self._share = boot.resources, slots, share
        self.count = self.most = slots
        """So many slots have room for tasks as the job describes them; that many there may be."""
        self._environ = {**os.environ, **boot.env}
        self._fresh = boot.isolate or boot.entry.kind == "command"
        self._held: dict[int, tuple[str, ...]] = {}
        self.resize(slots)

    def resize(self, slots: int) -> int:
        """As many slots from now on; how many of them there is room for."""
        self.most = slots
        bounds = [float(slots), self._cpus / self.plain.cpus if self.plain.cpus > 1 else slots]
        if self.plain.memory:
            bounds.append(self._memory / self.plain.memory)
        self.count = max(min(slots, 1), int(min(bounds) + _ROUNDING))
        return self.count

    @property
    def exacting(self) -> bool:
        """Whether each of the job's tasks has to be given by itself."""
        return self.plain.gpus > 0

    @property
    def _cpus(self) -> float:
        return max(self.slots, _cpus() / self._share) * self.most / self.slots

    @property
    def _memory(self) -> float:
        return _memory() / self._share * self.most / self.slots

    @functools.cached_property
    def _gpus(self) -> tuple[machine.Gpu, ...]:
        return machine.usable_gpus(self._environ)

    def is_large(self, need: Resources) -> bool:
        """Whether there might be no room for it, if all slots held such ones."""
        count = max(self.count, 1)
        return bool(
            need.gpus
            or (need.cpus > self.plain.cpus and need.cpus * count > self._cpus)
            or (need.memory and need.memory * count > self._memory)
        )

    def fits(self, need: Resources, taken: Collection[Resources]) -> bool:
        """Whether there is room for it beside what is taken. Beside nothing there always is."""
        if not taken:
            return True
        cpus = need.cpus + sum(one.cpus for one in taken)
        memory = (need.memory or 0) + sum(one.memory or 0 for one in taken)
        return cpus <= self._cpus + _ROUNDING and (not need.memory or memory <= self._memory)

    def lacks(self, need: Resources) -> str:
        """What of it this machine does not have at all, and a task cannot do with less of; empty: nothing."""
        fit = sum(gpu.is_a(need.gpu_type) for gpu in self._gpus) if need.gpus else 0
        return f"it needs {need.gpus} GPUs, and this machine has {fit}" if need.gpus > fit else ""

    def used(self, pids: Iterable[int]) -> set[str]:
        """The GPUs of these processes."""
        return {device for pid in pids for device in self._held.get(pid, ())}

    def devices(self, need: Resources, used: Collection[str], pid: int) -> tuple[str, ...] | None:
        """GPUs for a task in that process, the same as before if they are free. None: not enough are."""
        free = [gpu.id for gpu in self._gpus if gpu.id not in used and gpu.is_a(need.gpu_type)]
        before = self._held.get(pid, ())
        if len(before) == need.gpus and set(before).issubset(free):
            return before
        return tuple(free[: need.gpus]) if len(free) >= need.gpus else None

    def hold(self, pid: int, devices: tuple[str, ...]) -> bool:
        """These are the process's from now on. False: it has worked with others, to which a library in it may cling."""
        before = self._held.get(pid)
        if before not in (None, devices) and not self._fresh:
            del self._held[pid]
            return False
        self._held[pid] = devices
        return True


@functools.cache
def _cpus() -> int:
    return machine.usable_cpus()


@functools.cache
def _memory() -> int:
    return machine.usable_memory()


def with_devices(delivery: Delivery, devices: tuple[str, ...]) -> Delivery:
    """The same, told by a variable which GPUs it has."""
    options = json.loads(delivery.options or b"{}")
    options["env"] = {**(options.get("env") or {}), _VISIBLE: ",".join(devices)}
    return delivery._replace(options=json.dumps(options).encode())
