"""Calls on a cluster under Slurm beside tools from the package index: a whole program, its start and its end too, with
three jobs of Slurm where a tool keeps workers."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peers
from benchmarks.ground import PROGRAMS, PYTHON, Ground
from benchmarks.meter import Failed
from benchmarks.peers import Peer
from benchmarks.rows.cluster import lab_of, until
from benchmarks.table import PEER, Contestant, Row, Sample, Target

SUBMITIT = Peer("submitit", ("submitit",), "submitit_map.py", 1_000, 0)
JOBQUEUE = Peer("dask-jobqueue", ("dask-jobqueue",), "jobqueue_map.py", 1_000, 0)


def rows(ground: Ground, full: bool) -> list[Row]:
    lab, n = lab_of(ground), ground.sized(1_000 if full else 200)
    who, array, dask = "elsewhere, map", "submitit, map_array", "dask-jobqueue, client.map"

    def rated(python: str | Path, program: str) -> Sample:
        usage = lab.measured([python, lab.project / program, str(n)])
        if usage.out.split()[-1:] != [str(n).encode()]:
            raise Failed(f"of {n} values came {usage.out[-200:]!r}")
        until(lambda: not lab.cluster.queue(), "the queue is empty")
        return {"rate": n / usage.wall}

    def theirs(peer: Peer) -> Sample:
        python = peers.python(peer)
        (lab.project / peer.program).write_bytes((PROGRAMS / peer.program).read_bytes())
        return rated(python, peer.program)

    return [Row(
        f"slurm-map-{n}",
        f"{n:,} short calls on three nodes of Slurm, start-up included",
        [Contestant(who, lambda: rated(PYTHON, "slurm_map.py")), Contestant(array, lambda: theirs(SUBMITIT), PEER),
         Contestant(dask, lambda: theirs(JOBQUEUE), PEER)],
        [Target(who, "rate", least=5, against=array), Target(who, "rate", least=3, against=dask)],
        repeat=3,
    )]  # fmt: skip
