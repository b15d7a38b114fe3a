"""Every channel of this project passes the suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.channels.away import Away, to_socket
from elsewhere.channels.base import Channel, Receipt
from elsewhere.channels.calls import Calls
from elsewhere.channels.pipe import Pipe
from elsewhere.channels.spool import Spool
from elsewhere.stores import DirectoryStore, MemoryStore, Store
from elsewhere.testing.conformance import ChannelConformance, Ends
from elsewhere.testing.fake import FakeChannel, FakeClock


class TestCalls(ChannelConformance):
    @pytest.fixture
    def ends(self) -> Ends:
        calls = Calls()
        return Ends(calls, lambda _: calls)


class TestFakeChannel(ChannelConformance):
    @pytest.fixture
    def ends(self) -> Ends:
        clock = FakeClock()
        channel = FakeChannel(clock, delay=timedelta(seconds=5), hold=timedelta(seconds=2))
        return Ends(channel, lambda _: channel, lambda: channel, clock.advance)


def spool_over(store: Store, light: Store | None = None) -> Ends:
    clock, agents = FakeClock(), dict[str, Spool]()

    def end() -> Spool:
        return Spool(store, "job-1", light=light, clock=clock, patience=timedelta(seconds=1))

    def join(agent: str) -> Channel:
        return agents.setdefault(agent, end())

    home = end()
    home.create()
    return Ends(home, join, end, clock.advance)


class TestSpoolInMemory(ChannelConformance):
    @pytest.fixture
    def ends(self) -> Ends:
        return spool_over(MemoryStore())


class TestSpoolInDirectory(ChannelConformance):
    @pytest.fixture
    def ends(self, tmp_path: Path) -> Ends:
        return spool_over(DirectoryStore(tmp_path), DirectoryStore(tmp_path, sync=False))


class TestPipe(ChannelConformance):
    @pytest.fixture
    def ends(self, tmp_path: Path) -> Iterator[Ends]:
        clock, agents, homes = FakeClock(), dict[str, Away](), list[Pipe]()

        def new() -> Pipe:
            if homes:
                homes[-1].destroy()  # what a death closes
            homes.append(Pipe(tmp_path / "socket", clock=clock))
            return homes[-1]

        def join(agent: str) -> Channel:
            if agent not in agents:
                way = to_socket(str(tmp_path / "socket"))
                agents[agent] = Away(agent, way, tmp_path / agent, lease=timedelta(seconds=60), clock=clock)
            return agents[agent]

        home = new()
        home.create()
        yield Ends(home, join, new, clock.advance)
        for away in agents.values():
            away.close()
        for pipe in homes:
            pipe.destroy()


def test_the_suite_notices_a_channel_that_forgets(tmp_path: Path) -> None:
    """A suite that everything passes proves nothing."""

    class Forgetful(Calls):
        def collect(self, limit: int) -> Sequence[Receipt]:
            receipts = super().collect(limit)
            self.confirm(receipts)
            return receipts

    calls = Forgetful()
    suite = ChannelConformance()
    with pytest.raises(AssertionError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("elsewhere.testing.channel_suite.BOUND", 0.2)
        suite.test_what_was_not_confirmed_comes_again_and_what_was_does_not(Ends(calls, lambda _: calls))
