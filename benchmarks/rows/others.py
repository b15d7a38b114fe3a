"""The same no-op tasks by tools from the package index: as many as each can do in a few seconds."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import peers
from benchmarks.ground import Ground
from benchmarks.meter import Usage, measure
from benchmarks.rows.tasks import differing, ours
from benchmarks.table import PEER, Contestant, Row, Sample


def rows(ground: Ground) -> list[Row]:
    who, n = "elsewhere run", 10_000
    contestants = [Contestant(who, differing(lambda k: ours(ground, k), n))]
    contestants += [Contestant(f"{peer.name}, {peer.n:,} tasks", _once(ground, peer), PEER) for peer in peers.PEERS]
    return [Row("peers", "No-op Python tasks beside tools from the package index, start-up subtracted", contestants,
                repeat=3)]  # fmt: skip


def _once(ground: Ground, peer: peers.Peer) -> Callable[[], Sample]:
    def run(n: int) -> Usage:
        program = ground.program(peer.program)
        return measure([peers.python(peer), program, ground.tasks(n), ground.fresh("peer.db")], timeout=120)

    return differing(run, peer.n, peer.few)
