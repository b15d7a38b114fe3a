"""What nodes have for containers: as one of them has said before, or as one says now in a job of a second.

A text goes to the node; what it prints is kept in the work-dir, and read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from elsewhere.backends.boxes import LOOK, RUNTIMES, Boxed, read
from elsewhere.backends.slurm import newcomer, request
from elsewhere.backends.slurm.settings import SlurmSettings
from elsewhere.errors import PlaceError
from elsewhere.hosts import Host

FREE = 15
"""Seconds that are waited for a node. Where none is free, the machines of the job find out."""
LIMIT = timedelta(seconds=FREE + 60)
KEPT = "boxes"
"""In the work-dir: a node has looked, and what it found."""


def boxed(host: Host, base: str, settings: SlurmSettings, offer: str) -> Sequence[Boxed]:
    """What the nodes of this offer have; one that is not known has all. A node is asked again where none was found
    before, since it may have been installed. PlaceError: Slurm does not answer."""
    kept = f"{base}/{KEPT}"
    for path in (kept, f"{base}/{newcomer.SEEN}"):
        done = host.run(["cat", path])
        if done.ok and (found := read(offer, done.out)).runtimes:
            return [found]
    own = [*request.modules(settings.modules), *settings.prologue]
    shell = "bash" if own else "sh"
    words = ["srun", *newcomer.probe(settings, FREE), shell, "-c", "\n".join([*own, LOOK]), shell, ""]
    done = host.run(words, timeout=LIMIT)
    if not done.ok:
        return [Boxed(offer, tuple(RUNTIMES.values()), False)]
    found = read(offer, done.out)
    if found.runtimes:
        try:
            host.put(kept, done.out)
        except PlaceError:
            pass  # a node is asked again the next time
    return [found]
