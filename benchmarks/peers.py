"""Peers from the package index, each in its own virtual environment under the user's cache, made when asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import Failed


@dataclass(frozen=True)
class Peer:
    """What to install. `n`: tasks of one measurement, few where each costs much."""

    name: str
    packages: tuple[str, ...]
    program: str
    n: int
    few: int


PEERS = [
    Peer("joblib", ("joblib",), "joblib_list.py", 50_000, 100),
    Peer("huey on SQLite", ("huey",), "huey_list.py", 3_000, 100),
    Peer("Dask distributed", ("distributed",), "dask_list.py", 2_000, 100),
    Peer("rms-cloud-tasks", ("rms-cloud-tasks",), "seed_list.py", 60, 10),
]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elsewhere-bench"


def python(peer: Peer) -> Path:
    """The interpreter of that peer's environment, made at first use. Failed: it cannot be installed."""
    place = CACHE / peer.packages[0]
    found = place / "bin" / "python"
    if (place / "ready").exists():
        return found
    shutil.rmtree(place, ignore_errors=True)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv:
        commands = [[uv, "venv", "-q", "--python", sys.executable, str(place)],
                    [uv, "pip", "install", "-q", "--python", str(found), *peer.packages]]  # fmt: skip
    else:
        venv.create(place, with_pip=True)
        commands = [[str(found), "-m", "pip", "install", "-q", *peer.packages]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{peer.name} cannot be installed: {done.stderr.strip()[-300:]}")
    (place / "ready").touch()
    return found


def version(peer: Peer) -> str:
    """As installed."""
    ask = f"import importlib.metadata as m; print(m.version({peer.packages[0]!r}))"
    done = subprocess.run([python(peer), "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip()
