"""SHIP a Dask worker: the text that boots one, with its tag as a resource. Pure.

The text holds no secret: only where the cluster's certificates lie, which are its owner's alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from shlex import join, quote
from typing import Any

from elsewhere.ship.certificates import Papers

SLOT = Path(__file__).resolve().parent.parent / "slot"
LEASH = SLOT / "leash.py"
PATIENCE = 30
"""Seconds that a worker looks for its scheduler before it gives up."""
CUT = 120
"""Seconds for which the network may be cut, and nobody is given up: Dask's own 30 lose what runs."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Workers:
    """What the workers of one tag have in common. `plan`: of their container (ship/containers.py); empty: none."""

    cluster: str
    tag: str
    scheduler: str
    papers: Papers
    directory: Path
    """Of the cluster: its machines see it."""
    python: str
    cpus: float
    threads: int
    memory: int | None
    cwd: str
    path: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    network: Sequence[str] = ()
    """Words that say on which of its addresses a worker listens."""
    umask: int = 0o077
    lifetime: float = 0.0
    """Seconds after which each hands on what it keeps and leaves, before its place ends it; 0: it stays."""
    logs: bool = True
    """Its output goes to a file of the cluster's directory; else it stays with what booted it."""

    def log(self, number: int) -> Path:
        """Where the output of the n-th of them goes."""
        return log_of(self.directory, self.tag, number)


def log_of(directory: Path, tag: str, number: int | str) -> Path:
    return directory / "workers" / f"{tag}-{number}.log"


def render(workers: Workers, number: int, start_by: datetime) -> str:
    """The boot text of the n-th worker; one that starts later than `start_by` ends at once."""
    variables = {**_variables(workers), **workers.env}
    inside = [workers.python, *_words(workers, number)]
    words = kept({**workers.plan, "names": sorted(variables)}, inside) if workers.plan else inside
    lines = [
        "#!/bin/sh",
        f"# {workers.tag}/{number}: a worker of the Dask cluster {workers.cluster}, booted by Elsewhere.",
        f"umask {workers.umask:04o}",
        *([f"exec >>{quote(str(workers.log(number)))} 2>&1"] if workers.logs else []),
        f'[ "$(date +%s)" -lt {int(start_by.timestamp())} ] || {{ echo "it came too late to be of use"; exit 0; }}',
        f"cd {quote(workers.cwd)} || exit 73",
        *(f"export {name}={quote(value)}" for name, value in variables.items()),
        f"exec {join(words)}",
    ]
    return "\n".join(lines) + "\n"


def _variables(workers: Workers) -> dict[str, str]:
    each = str(max(1, int(workers.cpus) // workers.threads))
    found = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
             "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{CUT}s", **dict.fromkeys(_THREADS, each)}  # fmt: skip
    return {**found, "PYTHONPATH": ":".join(workers.path)} if workers.path else found


def _words(workers: Workers, number: int) -> list[str]:
    papers = workers.papers
    life = ["--lifetime", f"{workers.lifetime:.0f}s"] if workers.lifetime else []
    return [
        "-m", "distributed.cli.dask_worker", workers.scheduler, "--name", f"{workers.tag}/{number}",
        "--resources", f"{workers.tag}={workers.threads}", "--nthreads", str(workers.threads),
        "--memory-limit", str(workers.memory) if workers.memory else "auto", "--no-nanny", "--no-dashboard",
        "--dashboard-address", "127.0.0.1:0",  # its server of figures is there all the same
        "--protocol", "tls", *workers.network, "--tls-ca-file", papers.authority, "--tls-cert", papers.certificate,
        "--tls-key", papers.key, "--death-timeout", str(PATIENCE), "--local-directory",
        str(workers.directory / "scratch"), "--preload", str(LEASH), *life,
    ]  # fmt: skip


def kept(plan: Mapping[str, Any], inside: Sequence[str]) -> list[str]:
    """The words that run these in a container, by a keeper that ends it with itself."""
    return [sys.executable, str(SLOT / "__main__.py"), "keep", json.dumps({**plan, "inside": inside}), "-1", "-1"]
