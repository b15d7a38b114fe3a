"""A whole job on machines in network namespaces of their own, whose metadata service is at its own place."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.sandbox import walls
from places.far import make, nobody_is_forgotten, nothing_is_left, recorded_once, world

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.skipif(bool(walls.lacking()), reason=walls.lacking()),
]  # fmt: skip


def test_a_job_runs_on_machines_that_reach_the_sandbox_by_a_wire_alone(far_home: Path, tmp_path: Path) -> None:
    with world(far_home, isolation="netns") as cloud:
        files = make(tmp_path / "project", "square", [{"x": i} for i in range(5)])
        session.run_here(files)
        recorded_once(files, 5)
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)
