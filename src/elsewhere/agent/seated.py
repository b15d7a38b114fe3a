"""A machine that was brought all of us, and runs something of ours that is no agent: its corner, and our environment.

Its boot text named a module (ship/script.py), which finds itself in a corner of its place's deposit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from elsewhere.channels.frames import Verifies
from elsewhere.hosts import private_directory, write_whole
from elsewhere.ship import seat
from elsewhere.ship.script import SWITCH
from elsewhere.stores import Store

STEP = 1200.0
"""Seconds by which the dead man's switch is moved ahead."""


@dataclass(frozen=True, slots=True)
class Corner:
    """A corner of the deposit that is this machine's and its owner's, as one meets there (arrival.py)."""

    store: Store
    words: Mapping[str, str]
    verifier: Verifies | None


def switch(directory: Path) -> Callable[[float], None]:
    """What moves the dead man's switch of this directory: so many seconds are left."""
    serial = [0]

    def moved(left: float) -> None:
        serial[0] += 1
        with suppress(OSError):
            write_whole(directory / SWITCH, f"{max(0, int(left))} {serial[0]}\n".encode())

    return moved


def environment(base: Path, we: str, uv: str = "") -> Path:
    """The interpreter of our environment below `base`, made if it is not there, with a state directory beside it.

    `we`, `uv`: the folders of our archives there. What was exported for this process alone is dropped.
    """
    for folder in (base, base / "home"):
        private_directory(folder)
    env = {**os.environ, "HERE": str(base), "python": sys.executable}
    subprocess.run(["sh", "-c", seat.furnishing(we, uv)], cwd=base, env=env, check=True)
    os.environ.pop("PYTHONPATH", None)
    return base / f"{we}.env" / "bin" / "python"
