"""How soon an agent reads its orders: soon while its work is long, and no oftener than it must while it is short; and
how soon it says again what could not be said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from elsewhere.agent.claims import Ways
from elsewhere.agent.join import AGAIN, FIRST, IDLE, LONG, Process
from elsewhere.channels.base import Claim
from elsewhere.errors import Unreachable
from elsewhere.model.orders import EVERY_TASK, Orders
from elsewhere.model.reports import Claimed, Ended, Form, Heartbeat
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.ship.marks import SWITCH


class Slots:
    """One slot, in which a task runs for as long as it is told."""

    count, trouble = 1, ""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ends: list[Ended] = []

    def running(self) -> list[tuple[int, int, float]]:
        return [(1, 1, self.seconds)]

    def turn(self, wait: float) -> list[Ended]:
        ended, self.ends = self.ends, []
        return ended

    def room(self) -> int:
        return 0

    def stock(self, seconds: float) -> int:
        return 0

    def put(self, deliveries: Any) -> None: ...

    def settled(self) -> None: ...


class Channel:
    """Counts how often orders are read, and how."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.followed: tuple[int, ...] = ()
        self.pushed = self.lost = False
        self.said: list[Any] = []

    def told(self) -> Orders:
        self.read.append("told")
        return Orders("job-1")

    def told_soon(self) -> Orders:
        self.read.append("soon")
        return Orders("job-1")

    def told_now(self) -> Orders:
        self.read.append("now")
        return Orders("job-1", 1, logs=self.followed)

    def report(self, reports: Any, done: Any = ()) -> None:
        if self.lost:
            raise Unreachable("the connection was lost")
        self.said += reports

    def renew(self, claims: Any, lease: Any) -> Any:
        return claims


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Process, Slots, Channel, list[float]]:
    now, slots, channel = [0.0], Slots(), Channel()
    made = Process(Ways("i-1", "job-1", 1e6), channel, slots, tmp_path, lambda: now[0])  # type: ignore[arg-type]
    made.hands.took([Claim(Delivery(1, 1, "t", b"null"), "r")])
    now[0] = FIRST
    made.turn()
    channel.read.clear()
    return made, slots, channel, now


def test_work_is_taken_before_the_first_sign_of_life_and_that_comes_soon_after(tmp_path: Path) -> None:
    """Somebody waits for the first task; that it is taken says that the agent lives."""

    class Hungry(Slots):
        def room(self) -> int:
            return 1

    class Offers(Channel):
        def __init__(self) -> None:
            super().__init__()
            self.offered = [Claim(Delivery(1, 1, "t", b"null"), "r")]

        def claim(self, *_: Any) -> list[Claim]:
            offered, self.offered = self.offered, []
            return offered

    now, channel = [0.0], Offers()
    made = Process(Ways("i-1", "job-1", 1e6), channel, Hungry(), tmp_path, lambda: now[0])  # type: ignore[arg-type]
    made.turn()
    assert channel.said == [Claimed("i-1", ((1, 1),))] and not (tmp_path / SWITCH).exists()
    now[0] = FIRST
    made.turn()
    assert isinstance(channel.said[-1], Heartbeat) and (tmp_path / SWITCH).exists()


def reads(scene: tuple[Process, Slots, Channel, list[float]], seconds: int) -> int:
    """How often orders are read in so many seconds, less than the half of a lease."""
    made, _, channel, now = scene
    channel.read.clear()
    for _ in range(seconds * 2):
        now[0] += 0.5
        made.turn()
    return channel.read.count("soon")


def ended(took: float) -> Ended:
    return Ended(9, 1, Outcome.SUCCEEDED, 0.0, took, Form.NOTHING, b"")


def test_who_has_ended_nothing_yet_looks_every_few_seconds(scene: Any) -> None:
    assert reads(scene, 30) == 30 // IDLE


def test_who_does_short_work_does_not_look_for_itself_until_something_takes_long(scene: Any) -> None:
    _, slots, _, _ = scene
    slots.ends = [ended(60.0)]
    assert reads(scene, 30) <= 1, "that of the turn in which it was not known yet"
    assert reads(scene, 20) == 0
    slots.seconds = LONG + 1
    assert reads(scene, 30) >= 9


def test_who_does_short_work_looks_for_itself_while_a_slot_is_idle(scene: Any) -> None:
    _, slots, _, _ = scene
    slots.ends = [ended(60.0)]
    assert reads(scene, 30) <= 1
    slots.count = 2
    assert reads(scene, 30) >= 9


def test_who_does_long_work_looks_between_its_tasks_too(scene: Any) -> None:
    scene[1].ends = [ended(3600.0)]
    assert reads(scene, 30) == 30 // IDLE


def test_who_is_called_looks_in_its_next_turn_once_also_while_its_work_is_short(scene: Any) -> None:
    made, slots, channel, _ = scene
    slots.ends = [ended(1.0)]
    made.turn()
    channel.read.clear()
    made.call()
    made.turn()
    made.turn()
    assert channel.read == ["now"]


@pytest.mark.parametrize(("logs", "soon"), [((1,), True), ((2,), False), ((EVERY_TASK,), True), ((), False)])
def test_output_goes_home_soon_where_the_task_that_is_followed_runs(
    scene: Any, logs: tuple[int, ...], soon: bool
) -> None:
    made, _, channel, _ = scene
    seen: list[bool] = []
    made.outflow = SimpleNamespace(follow=seen.append)
    channel.followed = logs
    made.call()
    made.turn()
    assert seen == [soon]


def test_what_is_pushed_is_read_in_the_next_turn_whatever_runs(scene: Any) -> None:
    made, slots, channel, _ = scene
    slots.ends = [ended(60.0)]
    made.turn()
    assert channel.read == []
    channel.pushed = True
    made.turn()
    assert channel.read == ["told"]


def test_what_could_not_be_said_is_said_again_though_nothing_more_ends(scene: Any) -> None:
    made, slots, channel, now = scene
    slots.running = list
    slots.ends, channel.lost = [ended(1.0)._replace(n=1)], True
    made.turn()
    channel.lost = False
    channel.said.clear()
    made.turn()
    assert not channel.said, "not at once: whoever could not hear it is asked no oftener than that"
    now[0] += AGAIN
    made.turn()
    assert [(one.n, one.attempt) for one in channel.said] == [(1, 1)]
