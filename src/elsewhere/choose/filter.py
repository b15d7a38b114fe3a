"""Which types of machines do for what is asked, and why each of the others does not. Pure.

Types are looked at once, one by one; zones and prices, of which there are a hundred times more, only afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import NamedTuple

from elsewhere.choose.wants import Span, Wants
from elsewhere.model.catalog import MachineType
from elsewhere.model.units import show_size

_A_BIT = 1e-9


class Shape(NamedTuple):
    """What a type is worth to us: how many tasks run on it at a time, and the boot disk that they need, in bytes."""

    slots: int
    disk: int


class Refusal(NamedTuple):
    """Why a type does not do. `flag`: what asked for it; `value`: what the type has, where that is a number.

    `side`: whether the value is above the `most`, below the `least`, or no number at all (empty).
    """

    flag: str
    why: str
    value: float = 0
    side: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound: what it looks at, and how that is said."""

    flag: str
    measure: Callable[[MachineType, Shape], float]
    span: Span
    show: Callable[[float], str]
    of_tasks: bool = False
    """It takes a task that fits to be measured."""


def number(value: float) -> str:
    return f"{value:g}"


def _bytes(value: float) -> str:
    return show_size(int(value))


def usable(machine: MachineType) -> float:
    """CPUs that may be used for ever: of burstable types, what they give without credit."""
    return machine.cpus * machine.baseline


def shape(machine: MachineType, wants: Wants) -> Shape:
    """How many tasks fit, by CPUs, memory and GPUs, within what is allowed on one machine; and the disk they need."""
    task = wants.task
    slots = int(usable(machine) / task.cpus + _A_BIT)
    if task.memory:
        slots = min(slots, machine.memory // task.memory)
    if task.gpus:
        slots = min(slots, machine.gpus // task.gpus)
    if wants.tasks_per_machine.most is not None:
        slots = min(slots, wants.tasks_per_machine.most)
    disk = wants.boot_disk.size(machine.cpus, slots)
    files = slots * (task.disk or 0)
    return Shape(slots, disk if files <= machine.local_disk else disk + files)


def rules(wants: Wants) -> list[Rule]:
    """The bounds that were asked for, and no others: there are many types."""
    every = (
        Rule("--machine-cpus", lambda m, s: m.cpus, wants.machine_cpus, number),
        Rule("--machine-memory", lambda m, s: m.memory, wants.machine_memory, _bytes),
        Rule("--memory-per-cpu", lambda m, s: m.memory / m.cpus, wants.memory_per_cpu, _bytes),
        Rule("--local-disk", lambda m, s: m.local_disk, wants.local_disk, _bytes),
        Rule("--local-disk-per-cpu", lambda m, s: m.local_disk / m.cpus, wants.local_disk_per_cpu, _bytes),
        Rule("--machine-gpus", lambda m, s: m.gpus, wants.machine_gpus, number),
        Rule("--memory-per-task", lambda m, s: m.memory / s.slots, wants.memory_per_task, _bytes, True),
        Rule("--local-disk-per-task", lambda m, s: m.local_disk / s.slots, wants.local_disk_per_task, _bytes, True),
        Rule("--tasks-per-machine", lambda m, s: s.slots, Span(wants.tasks_per_machine.least), number, True),
    )
    return [rule for rule in every if rule.span]


class Sieve:
    """What is asked, made ready to look at many types."""

    def __init__(self, wants: Wants) -> None:
        self.wants, self.rules = wants, rules(wants)
        self.types = matcher(wants.machine_types)
        self.families = matcher(wants.cpu_family)
        self.gpus = matcher((*wants.gpu_types, *((wants.task.gpu_type,) if wants.task.gpu_type else ())), fold=True)

    def refusals(self, machine: MachineType, found: Shape) -> Iterator[Refusal]:
        """Every reason against a type, the plainest first; none: it does."""
        yield from self._names(machine)
        yield from self._fit(machine, found)
        for rule in self.rules:
            if rule.of_tasks and not found.slots:
                continue
            value, span = rule.measure(machine, found), rule.span
            if span.least is not None and value < span.least:
                why = f"it has {rule.show(value)}, less than {rule.show(span.least)}"
                yield Refusal(rule.flag, why, value, "least")
            elif span.most is not None and value > span.most:
                why = f"it has {rule.show(value)}, more than {rule.show(span.most)}"
                yield Refusal(rule.flag, why, value, "most")

    def _names(self, machine: MachineType) -> Iterator[Refusal]:
        wanted = self.wants.architecture
        if wanted not in ("any", machine.architecture):
            yield Refusal("--architecture", f"it is {machine.architecture}, not {wanted}")
        if not self.types(machine.name):
            yield Refusal("--machine-types", f"no pattern matches {machine.name}")
        if not self.families(machine.cpu_family):
            yield Refusal("--cpu-family", f"its processor is {machine.cpu_family or 'not known'}")
        if (self.wants.gpu_types or self.wants.task.gpu_type) and not self.gpus(machine.gpu_type):
            yield Refusal("--gpu-types", f"its GPU is {machine.gpu_type}" if machine.gpus else "it has no GPU")

    def _fit(self, machine: MachineType, found: Shape) -> Iterator[Refusal]:
        if found.slots:
            return
        task, cpus = self.wants.task, usable(machine)
        if cpus + _A_BIT < task.cpus:
            for_ever = f"it has {machine.cpus} burstable CPUs, {cpus:g} for ever"
            has = for_ever if machine.baseline < 1 else f"it has {machine.cpus}"
            yield Refusal("--cpus", f"{has}; a task needs {task.cpus:g}", cpus, "task")
        if task.memory and machine.memory < task.memory:
            has = f"it has {show_size(machine.memory)}; a task needs {show_size(task.memory)}"
            yield Refusal("--memory", has, machine.memory, "task")
        if machine.gpus < task.gpus:
            yield Refusal("--gpus", f"it has {machine.gpus}; a task needs {task.gpus}", machine.gpus, "task")


def matcher(patterns: Sequence[str], fold: bool = False) -> Callable[[str], bool]:
    """Whether a name matches one of the patterns; no patterns: every name does."""
    if not patterns:
        return lambda name: True
    texts = [one[3:] if one.startswith("re:") else translate(one) for one in patterns]
    compiled = re.compile("|".join(f"(?:{text})" for text in texts), re.IGNORECASE if fold else 0)
    return lambda name: compiled.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Sifted:
    """The types of a catalog, in its order. `shapes`: None where refused; `refused`: kind -> its first reason."""

    wants: Wants
    types: tuple[MachineType, ...]
    shapes: tuple[Shape | None, ...]
    refused: dict[int, Refusal]

    def all_reasons(self, kind: int) -> list[Refusal]:
        """Everything that speaks against a type, not just what was met first."""
        machine = self.types[kind]
        return list(Sieve(self.wants).refusals(machine, shape(machine, self.wants)))

    def counts(self) -> dict[str, int]:
        """How many types were refused, by the first reason."""
        found: dict[str, int] = {}
        for refusal in self.refused.values():
            found[refusal.flag] = found.get(refusal.flag, 0) + 1
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def sift(types: tuple[MachineType, ...], wants: Wants) -> Sifted:
    """Every type judged by what is asked of machines; where and for how much they are had is not asked here."""
    sieve = Sieve(wants)
    shapes: list[Shape | None] = []
    refused: dict[int, Refusal] = {}
    for kind, machine in enumerate(types):
        found = shape(machine, wants)
        first = next(sieve.refusals(machine, found), None)
        if first is not None:
            refused[kind] = first
        shapes.append(found if first is None else None)
    return Sifted(wants, types, tuple(shapes), refused)
