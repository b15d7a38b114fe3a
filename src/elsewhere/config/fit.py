"""Whether tasks that are well written can run at all: by the parameters of the function, by what this machine has.

Asked for each batch as a list is read, so that what is wrong has its line. Cheap where nothing is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from elsewhere import machine
from elsewhere.config.faults import nearest
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask
from elsewhere.model.units import show_size

_REMEMBERED = 4096
_NAMED = ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")


class Parameters:
    """Of a function that is called with a task's data by name."""

    def __init__(self, name: str, required: Collection[str], others: Collection[str], any_more: bool) -> None:
        self.name, self.required, self.known, self.any_more = name, required, [*required, *others], any_more
        fields: list[Any] = [(f"f{k}", Raw) for k in range(len(required))]
        fields += [(f"f{k}", Raw, Raw(b"")) for k in range(len(required), len(self.known))]
        rename = {f"f{k}": key for k, key in enumerate(self.known)}
        shape = msgspec.defstruct("Data", fields, rename=rename, forbid_unknown_fields=not any_more, gc=False)
        self._all = msgspec.json.Decoder(list[shape | None])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(dict[str, Raw])

    @classmethod
    def of(cls, name: str, found: Sequence[Sequence[Any]] | None) -> Parameters | None:
        """From [(name, kind, has a default), ...]; None: nothing is known of it, so anything goes."""
        if found is None:
            return None
        named = [(key, default) for key, kind, default in found if kind in _NAMED]
        required = [key for key, default in named if not default]
        return cls(
            name,
            required,
            [key for key, default in named if default],
            any(kind == "VAR_KEYWORD" for _, kind, _ in found),
        )

    def wrong(self, tasks: Sequence[NewTask]) -> Iterator[tuple[int, str]]:
        """(which, what is wrong with it) of the tasks whose data are no arguments of the function."""
        try:
            self._all.decode(b"[%b]" % b",".join([task.body for task in tasks]))
            return
        except msgspec.DecodeError:
            pass
        for at, task in enumerate(tasks):
            if task.options is None or "command" not in json.loads(task.options):
                yield from ((at, problem) for problem in self._problems(self._one.decode(task.body)))

    def _problems(self, data: Mapping[str, Any]) -> Iterator[str]:
        for key in data:
            if key not in self.known and not self.any_more:
                yield f"data: {self.name}() has no parameter {key!r}" + (nearest(key, self.known) if self.known else "")
        for key in self.required:
            if key not in data:
                yield f"data: {self.name}() needs {key!r}, which is missing"


class Fit:
    """Asked with some tasks, gives (which, what is wrong with it) of those that cannot run."""

    def __init__(self, parameters: Parameters | None = None, needs: tuple[Resources, int] | None = None) -> None:
        """`needs`: those of tasks that say nothing else, and the slots; None: they do not run on this machine."""
        self._parameters, self._needs = parameters, needs
        self._machines: tuple[Resources, tuple[Resources, ...]] | None = None
        self._seen: dict[bytes, list[str]] = {}

    def on(self, plain: Resources, machines: Sequence[Resources]) -> None:
        """What each of the job's machines is asked to have, once that was chosen: no task may need more than the
        largest. `plain`: what tasks need that say nothing else."""
        self._machines = (plain, tuple(machines)) if machines else None

    def __call__(self, tasks: Sequence[NewTask]) -> Iterator[tuple[int, str]]:
        if self._parameters is not None:
            yield from self._parameters.wrong(tasks)
        if self._needs is None and self._machines is None:
            return
        for at, task in enumerate(tasks):
            if task.options is not None:
                yield from ((at, problem) for problem in self._short(task.options))

    def _short(self, options: bytes) -> list[str]:
        found = self._seen.get(options)
        if found is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            found = self._seen[options] = self._lacks(json.loads(options))
        return found

    def _lacks(self, options: Mapping[str, Any]) -> list[str]:
        if self._needs is not None:
            plain, slots = self._needs
            return [] if (need := plain.own(options)) == plain else machine.shortfall(need, slots)
        assert self._machines is not None
        plain, machines = self._machines
        need = plain.own(options)
        lacks = [_short_of(need, one) for one in machines] if need != plain else [[]]
        return min(lacks, key=len)


def _short_of(need: Resources, has: Resources) -> list[str]:
    """What it needs and such a machine was not asked to have; memory that nobody spoke of is not counted."""
    short = []
    if need.cpus > has.cpus:
        short.append(f"it needs {need.cpus:g} CPUs, and a machine of this job has {has.cpus:g}: ask for more for all")
    if need.memory and has.memory and need.memory > has.memory:
        short.append(f"it needs {show_size(need.memory)} of memory, and a machine of this job has "
                     f"{show_size(has.memory)}: ask for more for all")  # fmt: skip
    if need.gpus and (need.gpus > has.gpus or (need.gpu_type and need.gpu_type.lower() != has.gpu_type.lower())):
        kind = f" of type {need.gpu_type}" if need.gpu_type else ""
        short.append(f"it needs {need.gpus} GPUs{kind}, and a machine of this job has {has.gpus or 'none'}")
    return short
