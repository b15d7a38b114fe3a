"""A state directory for each module of these tests; what they opened is closed at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.scripts import Scripts


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from elsewhere.api import live

    before = os.environ.get("ELSEWHERE_HOME")
    home = tmp_path_factory.mktemp("h")
    os.environ["ELSEWHERE_HOME"] = str(home)
    yield home
    live.close_all()
    if before is None:
        del os.environ["ELSEWHERE_HOME"]
    else:
        os.environ["ELSEWHERE_HOME"] = before


@pytest.fixture
def script(tmp_path: Path, state: Path) -> Scripts:
    return Scripts(tmp_path)
