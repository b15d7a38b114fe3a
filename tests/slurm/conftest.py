"""One private Slurm for all tests of a process that ask for it; each test begins and ends with an empty queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slurm.cluster import Cluster, running, until


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("s")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes of four CPUs; this process's own commands find it, too."""
    for name, value in shared_cluster.env().items():
        monkeypatch.setenv(name, value)
    yield shared_cluster
    if left := shared_cluster.queue():
        shared_cluster.run("scancel", *left)
        until(lambda: not shared_cluster.queue(), "the queue is empty")
