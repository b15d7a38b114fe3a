"""What the tests of readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elsewhere.model.task import RetryPolicy
from observe.told import Told


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[..., Told]]:
    made: list[Told] = []

    def make(tasks: int = 3, retries: int = 0, **spec: object) -> Told:
        made.append(Told(tmp_path / "ledger.db", tasks, retry=RetryPolicy(retries=retries), **spec))
        return made[-1]

    yield make
    for story in made:
        story.ledger.close()
