"""Dask on the private Slurm: a cluster of ours beside dask-jobqueue's, and a thousand short calls by its client."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from benchmarks import peers
from benchmarks.ground import PROGRAMS, PYTHON, Ground
from benchmarks.peers import Peer
from benchmarks.rows.cluster import Lab, lab_of
from benchmarks.table import PEER, Contestant, Row, Sample, Target

CALLS = 1000


def rows(ground: Ground, full: bool, beside: bool = False) -> list[Row]:
    """`beside`: also what is from the package index."""
    lab = lab_of(ground)
    ours, theirs = "Cluster, three tags", "dask-jobqueue's SLURMCluster, three workers"
    up = [Contestant(ours, _up(lab))]
    if beside:
        up.append(Contestant(theirs, _jobqueue(lab), PEER))
    return [
        Row("slurm-dask", "From the start of a program to three usable Dask workers on Slurm", up,
            [Target(ours, "seconds", most=1.2, against=theirs)] if beside else [], repeat=3, compare=("seconds",)),
        Row("slurm-client", f"{CALLS:,} short calls on Slurm by the client of a Cluster that is up",
            [Contestant("client.map", _client(lab))], repeat=3),
    ]  # fmt: skip


def _ours(lab: Lab) -> list[float]:
    return [float(line) for line in lab.measured([PYTHON, PROGRAMS / "dask_ours.py", "hpc"]).out.split()]


def _up(lab: Lab) -> Callable[[], Sample]:
    return lambda: {"seconds": _ours(lab)[0]}


def _client(lab: Lab) -> Callable[[], Sample]:
    return lambda: {"rate": CALLS / _ours(lab)[1]}


def _jobqueue(lab: Lab) -> Callable[[], Sample]:
    peer = Peer("dask-jobqueue", ("dask-jobqueue", f"distributed=={version('distributed')}"), "jobqueue.py", 0, 0)
    return lambda: {"seconds": float(lab.measured([peers.python(peer), PROGRAMS / peer.program, lab.project]).out)}
