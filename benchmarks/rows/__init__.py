"""The rows of the table, a room each. A row is a list of those who take part and of what is to be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.ground import Ground
    from benchmarks.table import Row


def all_rows(ground: Ground, *, full: bool, peers: bool) -> list[Row]:
    """Every row, in the order of the table."""
    from benchmarks.rows import (
        calls,
        clouds,
        cluster,
        cluster_calls,
        commands,
        dask,
        hosts,
        intake,
        others,
        plans,
        starting,
        tasks,
    )

    found = [
        row
        for room in (tasks, commands, calls, intake, starting, plans, clouds, hosts, cluster)
        for row in room.rows(ground, full)
    ]
    found += dask.rows(ground, full, peers)
    return found + ([*cluster_calls.rows(ground, full), *others.rows(ground)] if peers else [])
