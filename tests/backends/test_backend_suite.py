"""Every backend of this project passes the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.backends.base import Backend
from elsewhere.backends.local import Local, LocalSettings
from elsewhere.testing.conformance import BackendConformance
from elsewhere.testing.fake import FakeBackend, FakeClock


class TestLocal(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Local]:
        local = Local(LocalSettings(str(tmp_path)))
        yield local
        natives = list(local._recorded())  # its own: `owned` shows those of every state directory
        local.cancel(natives)
        local._asked = dict.fromkeys(natives, float("-inf"))  # so that the second asking kills
        local.cancel(natives)

    def again(self, backend: Backend) -> Backend:
        assert isinstance(backend, Local)
        return Local(LocalSettings(str(backend.directory)))

    def all_of(self, backend: Backend) -> set[str]:
        assert isinstance(backend, Local)
        return set(backend._recorded())


class TestFakeBackend(BackendConformance):
    runs_texts = False

    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend(FakeClock())

    def let_time_pass(self, backend: Backend) -> None:
        assert isinstance(backend, FakeBackend)
        backend.clock.advance(1)
