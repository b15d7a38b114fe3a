"""Slots for tests: a file of user code, real processes, and waiting that ends with an event or a generous bound."""

from __future__ import annotations

import json
import selectors
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elsewhere.agent.runner import Boot, Slots
from elsewhere.model.job import Entry
from elsewhere.model.reports import Ended, Form
from elsewhere.model.task import Delivery

BOUND = 30.0


class Floor:
    """Some slots, what was put into them, and what came out."""

    def __init__(self, slots: Slots, directory: Path) -> None:
        self.slots, self.directory = slots, directory
        self.ended: dict[int, Ended] = {}
        self.all: list[Ended] = []
        self._keys: set[tuple[int, int]] = set()
        self._next = 1

    def put(
        self, *bodies: Any, options: dict[str, Any] | None = None, alone: bool = False, attempt: int = 1
    ) -> list[int]:
        """One delivery for each body; their numbers."""
        words = None if options is None else json.dumps(options).encode()
        new = []
        for body in bodies:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            new.append(Delivery(self._next, attempt, f"task-{self._next}", raw, words, alone))
            self._next += 1
        self.slots.put(new)
        return [delivery.n for delivery in new]

    def turn(self, wait: float = 0.1) -> None:
        for one in self.slots.turn(wait):
            assert (one.n, one.attempt) not in self._keys, f"{one} ended twice"
            self._keys.add((one.n, one.attempt))
            self.ended[one.n] = one
            self.all.append(one)

    def until(self, done: Callable[[], object], bound: float = BOUND) -> None:
        """Turn until `done()` holds."""
        end = time.monotonic() + bound
        while not done():
            assert time.monotonic() < end, f"not within {bound} s; ended: {list(self.ended.values())[-5:]}"
            self.turn(0.05)

    def finish(self, *ns: int, bound: float = BOUND) -> list[Ended]:
        """The endings of these, in this order."""
        self.until(lambda: all(n in self.ended for n in ns), bound)
        return [self.ended[n] for n in ns]

    def run(self, *bodies: Any, **how: Any) -> list[Ended]:
        """Put and finish, with no more than the slots want at a time."""
        return self.finish(*self.put(*bodies, **how))

    def one(self, body: Any = None, **how: Any) -> Ended:
        return self.run({} if body is None else body, **how)[0]

    def until_running(self, n: int) -> None:
        self.until(lambda: n in [running[0] for running in self.slots.running()])

    def output(self, ended: Ended, kind: str = "out") -> bytes:
        """What stands between the bounds of an attempt."""
        if ended.output is None:
            return b""
        slot, roll, out, out_to, err, err_to = ended.output
        start, end = (out, out_to) if kind == "out" else (err, err_to)
        return (self.directory / f"{slot}.{roll}.{kind}").read_bytes()[start:end]

    def pids(self) -> list[int]:
        return [child.pid for child in self.slots._children if child.alive]


@contextmanager
def floor(tmp_path: Path, code: str = "", function: str = "f", count: int = 1, **words: Any) -> Iterator[Floor]:
    """Slots for `function` of a file that holds `code`; `entry=` for other entries, other words as in Boot."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    (work / "user_work.py").write_text(textwrap.dedent(code))
    usual: dict[str, Any] = {
        "entry": Entry("function", f"user_work.py:{function}"), "cwd": str(work), "store": str(tmp_path / "store"),
        "scratch": str(tmp_path / "scratch"), "checkpoints": str(tmp_path / "checkpoints"), "key": b"k" * 32,
    }  # fmt: skip
    boot = Boot(**usual | words)
    directory = tmp_path / "slots" / "a1"
    with selectors.DefaultSelector() as selector:
        slots = Slots(boot, count, directory, selector)
        try:
            yield Floor(slots, directory)
        finally:
            slots.close(now=True)


def value(ended: Ended) -> Any:
    """The JSON that stands in an ending."""
    assert ended.form in (Form.JSON, Form.FAILURE, Form.NOTHING), ended
    return json.loads(ended.value) if ended.value else None


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def eventually(done: Callable[[], object], bound: float = BOUND) -> None:
    """Wait for something that nobody announces."""
    end = time.monotonic() + bound
    while not done():
        assert time.monotonic() < end, f"not within {bound} s"
        time.sleep(0.01)
