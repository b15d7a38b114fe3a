"""Which of a place's machines the next launch goes to, where there are so many of them and no more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources


def berth(machines: Sequence[Offer], held: Iterable[tuple[str, Resources]], need: Resources) -> Offer | None:
    """The one with most CPUs left, of those that have room for it; of equals the first. None: all of them are full.

    `held`: what is there already, each by its machine's name and the share of it that it has.
    """
    there: dict[str, list[Resources]] = {}
    for name, share in held:
        there.setdefault(name, []).append(share)
    found, most = None, -1.0
    for machine in machines:
        has, shares = machine.resources, there.get(machine.name, [])
        cpus = has.cpus - sum(one.cpus for one in shares)
        memory = None if has.memory is None else has.memory - sum(one.memory or 0 for one in shares)
        room = memory is None or (need.memory or 0) <= memory
        gpus = has.gpus - sum(one.gpus for one in shares)
        if need.cpus <= cpus and room and need.gpus <= gpus and cpus > most:
            found, most = machine, cpus
    return found
