"""Agents as calls on a real Dask cluster: the suite that every backend passes, and who is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere.backends import registry
from elsewhere.backends.base import Backend, Condition
from elsewhere.backends.dask import Dask, DaskSettings
from elsewhere.errors import ConfigError, MissingExtra, Refused, Unreachable, UsageError
from elsewhere.model.place import Place
from elsewhere.model.resources import Resources
from elsewhere.testing.conformance import BackendConformance
from places.running_dask import Running, running

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
ALIVE = (Condition.PENDING, Condition.RUNNING)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("d"), workers=1, threads=4) as found:
        yield found


@pytest.fixture
def dask(there: Running, tmp_path: Path) -> Iterator[Dask]:
    found = Dask(DaskSettings(there.address, str(tmp_path)))
    yield found
    found.cancel([one.native for one in found.owned()])
    end = time.monotonic() + 60
    while any(one.condition in ALIVE for one in found.owned()):
        assert time.monotonic() < end
        time.sleep(0.05)


class TestDask(BackendConformance):
    @pytest.fixture
    def backend(self, dask: Dask) -> Dask:
        return dask

    def again(self, backend: Backend) -> Backend:
        assert isinstance(backend, Dask)
        return Dask(backend.settings)


def test_what_finds_no_free_worker_waits_and_says_so(dask: Dask) -> None:
    suite = TestDask()
    first, last = dask.submit(suite.launch(4)), dask.submit(suite.launch(1))
    suite.until(dask, lambda: all(suite.is_in(dask, native, Condition.RUNNING) for native in first))
    seen = suite.see(dask, last[0])
    assert seen is not None and seen.condition is Condition.PENDING
    dask.cancel(last)
    suite.until(dask, lambda: suite.is_in(dask, last[0], Condition.STOPPED))
    assert not (dask.base / "launches" / last[0].replace(".", "/") / "begun").exists()


def test_as_many_agents_as_its_workers_have_room_for(dask: Dask) -> None:
    [two] = dask.shapes(Resources(cpus=2))
    [one] = dask.shapes(Resources(), slots=3)
    assert (two.most, two.slots, one.most) == (2, 1, 3)
    with pytest.raises(UsageError, match="no worker has that") as caught:
        dask.shapes(Resources(cpus=5))
    assert caught.value.hint == "The largest worker has 4 threads."


def test_a_scheduler_that_is_not_there_and_another_python_are_refused(
    dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Dask(DaskSettings("127.0.0.1:1", str(tmp_path)))
    monkeypatch.setattr("elsewhere.backends.dask.LIMIT", 1.0)
    with pytest.raises(Unreachable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        gone.shapes(Resources())
    monkeypatch.undo()
    ask = Dask._ask

    def older(self: Dask, op: str, **words: Any) -> Any:
        told = ask(self, op, **words)
        return {who: {"host": {"python": "3.9.1.final.0"}} for who in told} if op == "broadcast" else told

    monkeypatch.setattr(Dask, "_ask", older)
    with pytest.raises(UsageError, match=r"the worker tcp://.* has Python 3\.9, and this is Python 3\."):
        dask.shapes(Resources())


def test_a_directory_that_its_workers_do_not_see_is_refused(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dask, "_with", lambda self, what: {"tcp://w": False})
    with pytest.raises(Refused, match="the worker tcp://w does not see") as caught:
        dask.shapes(Resources())
    assert "set `work-dir:`" in caught.value.hint


def test_an_address_is_a_place_and_what_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.addressed("dask://h:8786/") == Place("dask://h:8786", "dask", {"address": "h:8786"})
    assert registry.addressed("hpc") is registry.addressed("http://h") is None
    with pytest.raises(UsageError, match="a place of local has no address"):
        registry.addressed("local://h:1")
    with pytest.raises(ConfigError, match="address must be HOST:PORT of a Dask scheduler, not 'h'"):
        registry.build(Place("d", "dask", {"address": "h"}))
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtra) as caught:
        registry.build(Place("d", "dask", {"address": "h:1"})).offers(Resources())
    assert caught.value.hint == "pip install 'elsewhere[dask]'"
