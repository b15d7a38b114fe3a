"""PROVISION: what a backend may have besides, where machines are there before us: what they have for containers.

On hosts it is asked by shell text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable

RUNTIMES = {"podman": "podman", "docker": "docker", "apptainer": "apptainer", "singularity": "singularity",
            "ch-run": "charliecloud"}  # fmt: skip
"""Program -> as settings call it."""
LOOK = (
    "PATH=$PATH:/usr/bin:/usr/local/bin\n"
    + f"for one in {' '.join(RUNTIMES)}; do"
    + """ command -v $one >/dev/null 2>&1 && echo "boxes $one"; done
ours=${ELSEWHERE_HOME:-${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/elsewhere}/cache/images
[ -n "$1" ] || exit 0
for one in podman docker; do
  command -v $one >/dev/null 2>&1 && $one image inspect "$1" >/dev/null 2>&1 </dev/null && echo image; done
{ [ -e "$ours/$2.sif" ] || [ -e "$ours/$3.whole" ]; } && echo image
exit 0"""
)
"""What a host has; its words are those of `words`, and `read` reads what it prints."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """What a machine has: its name, its runtimes, and whether the image is there already."""

    machine: str
    runtimes: tuple[str, ...]
    has: bool


@runtime_checkable
class Boxes(Protocol):
    """A place whose machines are there before we come, and can say what they have for containers."""

    def boxed(self, image: str = "") -> Sequence[Boxed]:
        """Of all machines that answer. `image`: is that there? Twice: may differ. Creates nothing; waits.

        PlaceError: none answers.
        """
        ...


def words(image: str) -> tuple[str, str, str]:
    """The image, and the names under which ship/images.py keeps it."""
    name = image.removeprefix("docker://")
    return name, sha256(image.encode()).hexdigest(), sha256(name.encode()).hexdigest()


def read(machine: str, out: bytes) -> Boxed:
    """What LOOK has printed."""
    lines = out.decode("utf-8", "replace").splitlines()
    kinds = [RUNTIMES[line.removeprefix("boxes ")] for line in lines if line.removeprefix("boxes ") in RUNTIMES]
    return Boxed(machine, tuple(kinds), "image" in lines)
