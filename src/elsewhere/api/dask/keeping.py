"""Keeps what a cluster was asked for, on a thread of its own: workers that are wanted, those that follow the work, and
what is to be said of tasks that wait."""

from __future__ import annotations

import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from elsewhere.api.dask import versions
from elsewhere.api.dask.containers import Container
from elsewhere.api.dask.scheduling import Facts
from elsewhere.controller.control import Control
from elsewhere.controller.stop import Stop
from elsewhere.pool.hold import Hold, Member

LOOK = 1.0
PATIENCE = 30.0
"""Seconds after which it is said that tasks wait for a worker."""
IDLE = 5.0
"""Seconds for which fewer workers must have been enough, before those that follow the work become fewer."""
GRACE = 60.0
"""Seconds in which a worker hands on what it keeps, and leaves by itself."""


@dataclass(slots=True)
class Following:
    """Of a tag whose workers follow the work. `fewer`: since when fewer would do."""

    minimum: int
    maximum: int
    fewer: float | None = None

    def target(self, tasks: int, threads: int) -> int:
        return min(max(-(-tasks // threads), self.minimum), self.maximum)


def leaving(staying: Sequence[Member], busy: Mapping[str, int], count: int) -> list[Member]:
    """Which of these go first: those that have not come yet, then idle ones, the youngest first."""
    order = sorted(staying, key=lambda member: (member.arrived, busy.get(member.name, 0), -member.number))
    return order[: max(count, 0)]


class Schedules(Protocol):
    """A scheduler, wherever it runs: as Scheduling has it."""

    @property
    def over(self) -> str: ...

    def facts(self) -> Facts: ...

    def retire(self, names: Sequence[str]) -> None: ...

    def turn_away(self, name: str) -> None: ...


class Keeping:
    """Of one cluster. Whoever changes something holds `lock`; the scheduler's own thread never does."""

    def __init__(self, hold: Hold, scheduling: Schedules, arrivals: deque[tuple[str, Mapping[str, Any]]]) -> None:
        self.hold, self.scheduling, self.arrivals = hold, scheduling, arrivals
        self.lock = threading.RLock()
        self.containers: dict[str, Container] = {}
        self.following: dict[str, Following] = {}
        self.facts = Facts()
        self.stop = Stop()
        self._since: dict[str, float] = {}
        self._told: set[str] = set()
        self._absent: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    # --- the thread

    def start(self, control: Control, after: Callable[[float], None] = lambda _: None) -> None:
        """`after`: what is done after each turn."""
        self._thread = threading.Thread(target=self._run, args=(control, after), name="elsewhere cluster", daemon=True)
        self._thread.start()

    def _run(self, control: Control, after: Callable[[float], None]) -> None:
        while not self.stop.asked:
            door = control.socket.fileno()
            ready = select.select([self.stop.reader, door], [], [], LOOK)[0]
            self.stop.heard()
            if door in ready:
                control.turn()
            if not self.stop.asked:
                self.turn(time.monotonic())
                after(time.monotonic())

    def end(self) -> None:
        """No more is kept. Twice: harmless."""
        self.stop.hard()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def turn(self, now: float, raising: bool = False) -> None:
        """Look once, and do what follows."""
        with self.lock:
            while self.arrivals:
                self._arrived(*self.arrivals.popleft())
            before, self.facts = self.facts, self.scheduling.facts()
            if set(before.busy) != set(self.facts.busy):
                self.hold.stir()
            self._replace(now)
            for tag, following in self.following.items():
                self._follow(tag, following, now)
            self.hold.step(now, raising)
            if why := self.scheduling.over:
                self._give_up(why, now)
            for name in set(self.facts.busy) - {member.name for member in self.hold.members}:
                self.scheduling.turn_away(name)  # its launch has ended, and something of it lives on
            self._notice(now)

    def _replace(self, now: float) -> None:
        """Those that had come and that the scheduler has not had for a while, whatever their machines show, as one that
        nobody reaches does: a worker that was given up does not come back."""
        absent = {
            member.name: member for member in self.hold.members
            if member.arrived and member.leaves is None and member.kind in self.containers
            and member.name not in self.facts.busy
        }  # fmt: skip
        self._absent = {name: self._absent.get(name, now) for name in absent}
        self.hold.release([one for name, one in absent.items() if now - self._absent[name] >= GRACE], now)

    def _give_up(self, why: str, now: float) -> None:
        """Without its scheduler nothing of a cluster is of use."""
        self.following.clear()
        for tag in self.containers:
            self.hold.spoil(tag, why)
            self.hold.release(self.hold.staying(tag), now)
        if why not in self._told:
            self._told.add(why)
            sys.stderr.write(f"elsewhere: {why}\n")

    def _arrived(self, name: str, told: Mapping[str, Any]) -> None:
        member = self.hold.arrive(name)
        if member is None:
            self.scheduling.turn_away(name)  # its end was asked for before it came
        elif why := versions.differ(versions.told(told), versions.here(), f"the Python of {member.kind}"):
            self.hold.spoil(member.kind, why)
            self.hold.release([member], time.monotonic())
            self.scheduling.turn_away(name)

    # --- how many

    def set(self, tag: str, count: int, now: float, raising: bool = True) -> None:
        """So many workers of this tag from now on. Those that are too many leave by Dask's own retirement."""
        staying = self.hold.staying(tag)
        if len(staying) > count:
            going = leaving(staying, self.scheduling.facts().busy, len(staying) - count)
            there = [member for member in going if member.arrived]
            self.hold.release([member for member in going if not member.arrived], now)
            self.hold.release(there, now, GRACE)
            if there:
                self.scheduling.retire([member.name for member in there])
        self.hold.want(tag, count)
        self.hold.step(now, raising)

    def _follow(self, tag: str, following: Following, now: float) -> None:
        target = following.target(self.facts.tasks.get(tag, 0), self.containers[tag].threads)
        wanted = self.hold.wanted(tag)
        if target >= wanted:
            following.fewer = None
        elif following.fewer is None:
            following.fewer = now
        if target > wanted or (following.fewer is not None and now - following.fewer >= IDLE):
            following.fewer = None
            self.set(tag, target, now, raising=False)

    # --- what is said

    def waiting(self, tag: str) -> str:
        """Why tasks of this tag wait for a worker, as a sentence; empty: none does."""
        count = self.facts.waiting.get(tag, 0)
        if not count:
            return ""
        return f"{count} {'task waits' if count == 1 else 'tasks wait'} for a worker of {tag}: {self._why(tag)}"

    def _why(self, tag: str) -> str:
        if tag not in self.containers:
            return "there is no such container"
        if trouble := self.hold.trouble(tag):
            return trouble
        staying = self.hold.staying(tag)
        if not staying and not self.hold.wanted(tag):
            return f"none was asked for; add_workers({tag!r}, n=1) does"
        if paused := sum(member.name in self.facts.paused for member in staying):
            there = f"{paused} of {len(staying)} paused near the memory that they have"
            return f"{there}; add_container(memory=...) gives more"
        said = next((member.reason for member in staying if member.reason), "") or self.hold.note(tag)
        return f"{self.hold.wanted(tag)} asked for, none is here yet" + (f" ({said})" if said else "")

    def _notice(self, now: float) -> None:
        for tag in [tag for tag in self._since if tag not in self.facts.waiting]:
            del self._since[tag]
            self._told.discard(tag)
        for tag in self.facts.waiting:
            since = self._since.setdefault(tag, now)
            broken = tag in self.containers and self.hold.trouble(tag)
            if tag not in self._told and (broken or now - since >= PATIENCE):
                self._told.add(tag)
                sys.stderr.write(f"elsewhere: {self.waiting(tag)}\n")

    def state(self) -> dict[str, Any]:
        """How each tag stands, as plain values."""
        with self.lock:
            tags = {tag: self._state(container) for tag, container in self.containers.items()}
            strange = [self.waiting(tag) for tag in self.facts.waiting if tag not in tags]
        return {"tags": tags, "waiting": strange}

    def _state(self, container: Container) -> dict[str, Any]:
        tag, members = container.tag, [one for one in self.hold.members if one.kind == container.tag]
        following = self.following.get(tag)
        return {
            "wanted": self.hold.wanted(tag), "cpus": container.shape.cpus, "memory": container.shape.memory,
            "threads": container.threads, "software": container.software,
            "adapt": [following.minimum, following.maximum] if following else None,
            "trouble": self.hold.trouble(tag), "note": self.hold.note(tag), "waiting": self.waiting(tag),
            "tasks": self.facts.tasks.get(tag, 0), "workers": [self._row(member) for member in members],
        }  # fmt: skip

    def _row(self, member: Member) -> dict[str, Any]:
        word = "leaving" if member.leaves is not None else "here" if member.arrived else member.condition.value
        return {"name": member.name, "machine": member.native, "is": word, "reason": member.reason,
                "busy": self.facts.busy.get(member.name, 0)}  # fmt: skip
