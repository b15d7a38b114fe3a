"""Dask on the private Slurm: a cluster of ours beside dask-jobqueue's, and a thousand short calls in three ways."""

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
    mapped, client, queued = "f.map, from nothing", "client.map of a Cluster that is up", "client.map, dask-jobqueue"
    up, calls = [Contestant(ours, _up(lab))], [Contestant(mapped, _mapped(lab)), Contestant(client, _client(lab))]
    if beside:
        up.append(Contestant(theirs, _jobqueue(lab, 0, "seconds"), PEER))
        calls.append(Contestant(queued, _jobqueue(lab, None, "rate"), PEER))
    return [
        Row("slurm-dask", "From the start of a program to three usable Dask workers on Slurm", up,
            [Target(ours, "seconds", most=1.2, against=theirs)] if beside else [], repeat=3, compare=("seconds",)),
        Row("slurm-calls", f"{CALLS:,} short calls on Slurm; f.map and dask-jobqueue with their start", calls,
            [Target(mapped, "rate", least=3, against=queued)] if beside else [],
            repeat=3, compare=("rate",)),
    ]  # fmt: skip


def _ours(lab: Lab) -> list[float]:
    return [float(line) for line in lab.measured([PYTHON, PROGRAMS / "dask_ours.py", "hpc"]).out.split()]


def _up(lab: Lab) -> Callable[[], Sample]:
    return lambda: {"seconds": _ours(lab)[0]}


def _client(lab: Lab) -> Callable[[], Sample]:
    return lambda: {"rate": CALLS / _ours(lab)[1]}


def _mapped(lab: Lab) -> Callable[[], Sample]:
    return lambda: {"rate": CALLS / float(lab.measured([PYTHON, PROGRAMS / "remote_map.py", "hpc"]).out)}


def _jobqueue(lab: Lab, which: int | None, figure: str) -> Callable[[], Sample]:
    """`which` of its two figures; None: both together, as seconds of all calls."""
    peer = Peer("dask-jobqueue", ("dask-jobqueue", f"distributed=={version('distributed')}"), "jobqueue.py", 0, 0)

    def once() -> Sample:
        words = [peers.python(peer), PROGRAMS / peer.program, lab.project]
        found = [float(line) for line in lab.measured(list(words)).out.split()]
        seconds = sum(found) if which is None else found[which]
        return {figure: CALLS / seconds if figure == "rate" else seconds}

    return once
