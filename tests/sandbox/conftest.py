"""One sandbox for all tests that leave it as they found it, but for machines and buckets of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.command import Shell
from sandbox.cloud import Sandbox, sandbox


@pytest.fixture(scope="session")
def shared() -> Iterator[Sandbox]:
    with sandbox() as cloud:
        yield cloud


@pytest.fixture
def cloud() -> Iterator[Sandbox]:
    """One that the test may turn upside down."""
    with sandbox() as made:
        yield made


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
