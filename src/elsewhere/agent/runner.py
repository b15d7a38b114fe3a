"""The slots of one agent: deliveries in, ended attempts out; timeouts, limits of memory, deaths, and their replacement.

It knows no channel and no ledger. One thread turns it; a turn waits for something to happen and does what is due.
"""

from __future__ import annotations

import errno
import os
import secrets
import selectors
import signal
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

from elsewhere.agent import processes
from elsewhere.agent.boot import Boot
from elsewhere.agent.options import limits_of
from elsewhere.agent.seat import Seat, Seen
from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.slot import wire

__all__ = ["Boot", "Slots", "recover"]

AHEAD = 0.030
"""Seconds of work that are queued at each slot, so that it need not wait for us."""
MOST = 1000
LOOK = 0.05
"""Seconds between two looks at the clock and the memory of what runs."""
BOOTS = 3
"""So many slots in a row that die before they are ready mean that none ever will be."""
_OUTCOMES = tuple(Outcome)
_FORMS = tuple(Form)
_MARK = "ELSEWHERE_SLOTS"


class Slots:
    """Warm child processes in the user's interpreter, one task at a time each."""

    def __init__(self, boot: Boot, count: int, directory: Path, selector: selectors.BaseSelector) -> None:
        self.boot, self.count, self.directory, self.selector = boot, count, directory, selector
        self.trouble = ""
        self.seats: dict[int, Seat] = {}
        self.queue: deque[Delivery] = deque()
        self._ended: list[Ended] = []
        self._pace = 0.0
        self._looked = 0.0
        self._bad_boots = 0
        self._dead_end = ""
        self._retry_at = 0.0
        self._limits: dict[tuple[int, int], tuple[float, int]] = {}
        self._rolls: dict[int, int] = {}
        self._generations: dict[int, int] = {}
        self._agent = directory.name
        self._env = self._environment()

    def _environment(self) -> dict[str, str]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = secrets.token_hex(16)
        (self.directory / "mark").write_text(mark)
        return {**os.environ, **self.boot.env, _MARK: mark}

    # --- deliveries in --------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more deliveries would keep every slot busy for a while."""
        if self.trouble:
            return 0
        have = len(self.queue) + sum(len(seat.sent) for seat in self.seats.values())
        return max(0, self.count * self._depth() * 2 - have) if have < self.count * self._depth() else 0

    def _depth(self) -> int:
        """How many tasks to keep at one slot: 1 for long ones, so that nobody waits behind them."""
        if self._pace <= 0:
            return 1
        return max(1 if self._pace > 0.5 else 2, min(MOST, int(AHEAD / self._pace)))

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Queue these; each ends in some later turn."""
        self.queue.extend(deliveries)
        for delivery in deliveries:
            if delivery[4] is not None:
                self._limits[delivery[0], delivery[1]] = limits_of(delivery[4])
        self._feed()

    def _feed(self) -> None:
        if not self.queue:
            return
        if self._dead_end:
            self._reject()
            return
        while len(self.seats) < self.count and len(self.seats) < len(self.queue) + self._working():
            self._open()
        depth = self._depth()
        seats = sorted(self.seats.values(), key=lambda seat: len(seat.sent))
        for seat in seats:
            if not self.queue:
                break
            if seat.leaving or seat.doubt is not None or len(seat.sent) > depth // 2:
                continue
            few = -(-len(self.queue) // len(seats)) if len(self.queue) < depth * len(seats) else depth
            count = min(few, max(1, depth - len(seat.sent)), len(self.queue))
            seat.send([self.queue.popleft() for _ in range(count)])
            self._watch_writing(seat)

    def _working(self) -> int:
        return sum(1 for seat in self.seats.values() if seat.sent)

    def _open(self) -> None:
        number = next(k for k in range(self.count + len(self.seats) + 1) if k not in self.seats)
        roll, generation = self._rolls.get(number, 0), self._generations.get(number, 0)
        seat = Seat(self.boot, number, self.directory, self._env, roll, generation)
        self.seats[number] = seat
        self.selector.register(seat.wake, selectors.EVENT_READ, lambda: self._hear(seat))

    def _watch_writing(self, seat: Seat) -> None:
        if seat.pending:
            try:
                self.selector.register(seat.down, selectors.EVENT_WRITE, lambda: self._go_on_writing(seat))
            except KeyError:
                pass

    def _go_on_writing(self, seat: Seat) -> None:
        if seat.flush():
            self.selector.unregister(seat.down)

    # --- a turn ---------------------------------------------------------------------------------------------------

    def turn(self, wait: float) -> list[Ended]:
        """Wait up to `wait` seconds for something to happen, do what is due; the attempts that ended.

        What others registered with the selector is called too: the data of a key is a function without arguments.
        """
        if self._ended:
            wait = 0.0
        elif self.seats:
            wait = min(wait, LOOK) if self._needs_looking() else wait
        for key, _ in self.selector.select(wait):
            key.data()
        now = monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._look_around(now)
        self._feed()
        ended, self._ended = self._ended, []
        return ended

    def _needs_looking(self) -> bool:
        boot = self.boot
        return bool(boot.timeout or boot.memory or self._limits or self.trouble) or any(
            seat.target is not None or seat.doubt is not None for seat in self.seats.values()
        )

    def _hear(self, seat: Seat) -> None:
        alive = seat.woken()
        self._collect(seat)
        if not alive:
            self._bury(seat)

    def _collect(self, seat: Seat) -> None:
        """Read what it has written, and settle what it had been sent."""
        records = seat.read()
        if records:
            self._take_in(seat, records)
        if seat.doubt is not None:
            self._resolve(seat)
        if not seat.booted:
            seat.booted = seat.look().doing != wire.BOOTING
            if seat.booted:
                self._bad_boots = 0

    def _take_in(self, seat: Seat, records: list[tuple[Any, ...]]) -> None:
        number, agent, sent, ended = seat.number, self._agent, seat.sent, self._ended
        spent = 0.0
        for n, attempt, outcome, form, roll, started, took, out_from, out_to, err_from, err_to, value in records:
            if sent and sent[0][0] == n:
                sent.popleft()
            output = None
            if out_to > out_from or err_to > err_from:
                output = Output(number, roll, out_from, out_to, err_from, err_to)
            spent += took
            ended.append(Ended(n, attempt, _OUTCOMES[outcome], started, took, _FORMS[form], value, output, agent))
            if self._limits:
                self._limits.pop((n, attempt), None)
        last = records[-1]
        if seat.target is not None and (last[0], last[1]) == seat.target[:2]:
            seat.target = None
        if seat.doubt is not None and not sent:
            seat.doubt = None
        self._rolls[number] = last[4]
        mean = max(1e-7, spent / len(records))
        self._pace = mean if not self._pace else self._pace + (mean - self._pace) * min(1.0, len(records) / 20)

    def _resolve(self, seat: Seat) -> None:
        """Had it begun what its page showed when we took the rest back?"""
        doubt = seat.doubt
        if doubt is None:
            return
        seen = seat.look()
        if seen.doing == wire.RUNNING and (seen.n, seen.attempt) == doubt[:2]:
            return
        records = seat.read()
        if records:
            self._take_in(seat, records)
        if seat.sent and seat.sent[0] is doubt:
            self.queue.appendleft(seat.sent.popleft())
        seat.doubt = None

    # --- deaths ---------------------------------------------------------------------------------------------------

    def _bury(self, seat: Seat) -> None:
        """Its process has ended: say how its last attempt did, give back the rest."""
        self.selector.unregister(seat.wake)
        if seat.down in self.selector.get_map():
            self.selector.unregister(seat.down)
        seat.kill()
        status = seat.process.wait()
        records = seat.read()
        if records:
            self._take_in(seat, records)
        seen = seat.look()
        self._rolls[seat.number], self._generations[seat.number] = seen.roll, seat.generation
        del self.seats[seat.number]
        self._end_victim(seat, seen, status)
        self.queue.extendleft(reversed(seat.sent))
        if not seat.booted and seen.doing == wire.BOOTING:
            self._boot_failed(seat, status)
        seat.close()

    def _end_victim(self, seat: Seat, seen: Seen, status: int) -> None:
        """What it was running when it died."""
        if not seat.sent or seen.doing != wire.RUNNING or (seen.n, seen.attempt) != seat.sent[0][:2]:
            return
        if seat.doubt is not None and status == wire.LEFT and seat.target is None:
            return  # it left before it had begun
        victim = seat.sent.popleft()
        if status == wire.IN_TROUBLE:
            self._trouble(seat.said_trouble())
        outcome, value = self._verdict(seat, status)
        took = max(0.0, monotonic() - seen.started)
        out, err = self._ends(seat, seen)
        output = (
            Output(seat.number, seen.roll, seen.out, out, seen.err, err) if out > seen.out or err > seen.err else None
        )
        self._ended.append(
            Ended(victim.n, victim.attempt, outcome, time() - took, took, Form.FAILURE, value, output, self._agent)
        )
        self._limits.pop(victim[:2], None)

    def _ends(self, seat: Seat, seen: Seen) -> tuple[int, int]:
        ends = []
        for kind in ("out", "err"):
            try:
                ends.append((self.directory / f"{seat.number}.{seen.roll}.{kind}").stat().st_size)
            except OSError:
                ends.append(0)
        return ends[0], ends[1]

    def _verdict(self, seat: Seat, status: int) -> tuple[Outcome, bytes]:
        stderr = self._stderr(seat)
        if seat.target is not None:
            outcome = _OUTCOMES[seat.target[2]]
            said = {Outcome.TIMED_OUT: "it ran longer than its timeout and did not end when told to",
                    Outcome.OUT_OF_MEMORY: "it used more memory than it may",
                    Outcome.CANCELLED: "it was cancelled"}.get(outcome, "it was told to end")  # fmt: skip
            return outcome, wire.failure("Stopped", said, stderr=stderr)
        if status == wire.IN_TROUBLE:
            return Outcome.INTERRUPTED, wire.failure("Trouble", self.trouble)
        if status < 0:
            name = signal.Signals(-status).name
            said = f"its process was ended by signal {-status} ({name})"
            outcome = Outcome.LOST if -status == signal.SIGKILL else Outcome.ERRORED
            return outcome, wire.failure("Died", said, signal=-status, stderr=stderr)
        said = f"its process ended with exit status {status}, without a result"
        return Outcome.ERRORED, wire.failure("Died", said, exit_code=status, stderr=stderr)

    def _stderr(self, seat: Seat) -> str:
        seen = seat.look()
        path = self.directory / f"{seat.number}.{seen.roll}.err"
        try:
            with path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(seen.err, end - 4096))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _trouble(self, number: int) -> None:
        reason = "the disk is full" if number in (errno.ENOSPC, errno.EDQUOT) else os.strerror(number)
        self.trouble = f"slots cannot write their files in {self.directory}: {reason}"
        self._retry_at = monotonic() + 1.0

    def _boot_failed(self, seat: Seat, status: int) -> None:
        self._bad_boots += 1
        if self._bad_boots >= BOOTS:
            log = self.directory / f"{seat.number}.boot"
            text = log.read_bytes()[-2000:].decode("utf-8", "replace") if log.exists() else ""
            self._dead_end = f"no slot can be started with {self.boot.python} (status {status}): {text.strip()}"

    def _reject(self) -> None:
        value = wire.failure("NoSlot", self._dead_end)
        while self.queue:
            n, attempt, *_ = self.queue.popleft()
            self._ended.append(Ended(n, attempt, Outcome.REJECTED, time(), 0.0, Form.FAILURE, value, None, self._agent))

    # --- limits ---------------------------------------------------------------------------------------------------

    def _look_around(self, now: float) -> None:
        if self.trouble and now >= self._retry_at:
            self._try_again()
        for seat in list(self.seats.values()):
            if seat.target is not None:
                if now >= seat.deadline and seat.process.poll() is None:
                    seat.kill()
            elif seat.sent:
                self._hold_to_limits(seat, now)
            if seat.doubt is not None:
                self._collect(seat)

    def _hold_to_limits(self, seat: Seat, now: float) -> None:
        timeout = self.boot.timeout.total_seconds() if self.boot.timeout else 0.0
        memory = self.boot.memory
        if not (timeout or memory or self._limits):
            return
        seen = seat.look()
        if seen.doing != wire.RUNNING:
            return
        own = self._limits.get((seen.n, seen.attempt))
        if own is not None:
            timeout, memory = own[0] or timeout, own[1] or memory
        if timeout and now - seen.started > timeout:
            self._stop(seat, seen, Outcome.TIMED_OUT, self.boot.grace.total_seconds())
        elif memory and processes.resident(seat.process.pid) - seat.baseline() > memory:
            self._stop(seat, seen, Outcome.OUT_OF_MEMORY, 0.0)

    def _stop(self, seat: Seat, seen: Seen, outcome: Outcome, grace: float) -> None:
        self.queue.extendleft(reversed(seat.stop(seen.n, seen.attempt, int(outcome), grace)))

    def _try_again(self) -> None:
        """Is there room again?"""
        probe = self.directory / "probe"
        try:
            probe.write_bytes(bytes(1 << 20))
            probe.unlink()
            self.trouble = ""
        except OSError:
            probe.unlink(missing_ok=True)
            self._retry_at = monotonic() + 1.0

    # --- asked from outside ---------------------------------------------------------------------------------------

    def cancel(self, ns: Collection[int]) -> None:
        """Queued ones are dropped, running ones stopped; each ends as CANCELLED in some later turn."""
        wanted = set(ns)
        for seat in self.seats.values():
            self._collect(seat)
            hit = [d for d in seat.sent if d.n in wanted]
            if not hit:
                continue
            seen = seat.look()
            if seen.doing == wire.RUNNING and seen.n in wanted and seat.target is None:
                self._stop(seat, seen, Outcome.CANCELLED, self.boot.grace.total_seconds())
            else:
                self.queue.extendleft(reversed(seat.recall()))
        dropped = [d for d in self.queue if d.n in wanted]
        self.queue = deque(d for d in self.queue if d.n not in wanted)
        value = wire.failure("Cancelled", "it was cancelled before it began")
        for delivery in dropped:
            self._ended.append(
                Ended(
                    delivery.n, delivery.attempt, Outcome.CANCELLED, time(), 0.0, Form.FAILURE, value, None, self._agent
                )
            )

    def withdraw(self) -> list[Delivery]:
        """Take back everything that has not begun; what runs goes on."""
        back = list(self.queue)
        self.queue.clear()
        for seat in self.seats.values():
            self._collect(seat)
            back += seat.recall()
        return back

    def running(self) -> list[tuple[int, int, float]]:
        """(n, attempt, seconds) of what runs now."""
        now, found = monotonic(), []
        for seat in self.seats.values():
            if seat.sent:
                seen = seat.look()
                if seen.doing == wire.RUNNING:
                    found.append((seen.n, seen.attempt, max(0.0, now - seen.started)))
        return found

    def queued(self) -> int:
        """Deliveries that wait here or at a slot."""
        return len(self.queue) + sum(max(0, len(seat.sent) - 1) for seat in self.seats.values())

    @property
    def busy(self) -> int:
        """Slots that have something to do."""
        return self._working()

    def resize(self, count: int) -> None:
        """More: opened as they are needed. Fewer: the others leave when they are done with what they run."""
        self.count = max(1, count)
        extra = [seat for seat in self.seats.values() if not seat.leaving][self.count :]
        for seat in extra:
            self.queue.extendleft(reversed(seat.recall(leave=True)))
            if not seat.sent:
                processes.send(seat.process.pid, signal.SIGTERM)

    def settled(self) -> None:
        """All that turns returned so far is recorded: outcome files may be cut."""
        for seat in self.seats.values():
            seat.cut()

    def notice(self) -> None:
        """The machine is about to go: running tasks are told through current_task().stopping."""
        for seat in self.seats.values():
            seat.notice()

    def close(self, now: bool = False) -> None:
        """End all slots and everything below them. Twice: harmless."""
        seats, self.seats = list(self.seats.values()), {}
        if not now:
            for seat in seats:
                processes.send(seat.process.pid, signal.SIGTERM)
            limit = monotonic() + self.boot.grace.total_seconds()
            for seat in seats:
                try:
                    seat.process.wait(timeout=max(0.01, limit - monotonic()))
                except Exception:  # it did not heed
                    continue
        for seat in seats:
            for fd in (seat.wake, seat.down):
                if fd in self.selector.get_map():
                    self.selector.unregister(fd)
            seat.kill()
            seat.close()
        if seats:
            processes.kill_marked(f"{_MARK}={self._env[_MARK]}")


def recover(directory: Path) -> list[Ended]:
    """What the slots of a dead agent wrote down in `directory`; whatever is left of its processes is ended first.

    Idempotent, until the outcome files are removed.
    """
    mark = directory / "mark"
    if mark.exists():
        processes.kill_marked(f"{_MARK}={mark.read_text()}")
    ended = []
    for path in sorted(directory.glob("*.outcomes")):
        number = int(path.name.split(".")[0])
        for n, attempt, outcome, form, roll, started, took, *place, value in wire.unpack(path.read_bytes())[0]:
            output = Output(number, roll, *place) if place[1] > place[0] or place[3] > place[2] else None
            ended.append(Ended(n, attempt, Outcome(outcome), started, took, Form(form), value, output, directory.name))
    return ended
