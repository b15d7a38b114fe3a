"""One attempt at one function: call it, judge what it returned or raised, append the record.

`Slot` (serve.py) is the process around it; commands have their own room (commands.py).
"""

from __future__ import annotations

import errno
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING

from elsewhere.slot import children, kernel, values, wire
from elsewhere.slot.calls import Broken, Calls, Unreadable
from elsewhere.slot.directories import Directories
from elsewhere.slot.task import Again, Done, Fail, Stopped, Task
from elsewhere.slot.wire import ERRORED, FAILURE, REJECTED, SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from typing import Any, NoReturn

    from elsewhere.slot.output import Files
    from elsewhere.slot.workplace import Workplace


async def _nothing() -> None: ...


_sample = _nothing()
_COROUTINE = type(_sample)
_sample.close()
_WORDS = (Done, Again, Fail)
_STOPPED = {
    wire.TIMED_OUT: "it ran longer than its timeout",
    wire.CANCELLED: "it was cancelled",
    wire.OUT_OF_MEMORY: "it used more memory than it may",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Attempts(Calls):
    """What is known of the task at hand, and the ways to try it."""

    page: mmap
    output: Files
    agent: int
    environ: dict[bytes, bytes]
    invoke: Callable[[Any, Any], Any]
    attempt: Callable[[Any, Any, float], float]
    broken: bytes

    def __init__(self) -> None:
        super().__init__()
        self.delivery: Any = None
        self.hidden: list[bytes] = []
        self.stopping = 0
        self.child = 0
        self.pid = os.getpid()
        self.outcomes = -1
        self.wall = 0.0
        self.seed = False
        self.limit: kernel.Limit | None = None
        self.memory = 0
        self.begun = 0.0
        self.directories: Directories | None = None
        self.loop: Any = None
        self.workplace: Workplace | None = None
        self.commands: Any = None

    # -- the ways ways to try

    def attempt_here(self, delivery: Any, data: Any, started: float) -> float:
        """Run it in this process and append its record; when it ended (CLOCK_MONOTONIC)."""
        if self.workplace is not None and (trouble := self.enter(delivery)):
            return self.finish(delivery, trouble, started)
        if delivery[4] is not None or self.memory:
            if self.has_command(delivery):
                return self.attempt_command(delivery, data, started)
            told = self.with_terms(delivery, data)
        else:
            self.begun = started
            told = self.run(delivery, data)
        if self.directories is not None:
            self.directories.tidy(succeeded=told[0] == SUCCEEDED)
            self.directories = None
        return self.finish(delivery, told, started)

    def has_command(self, delivery: Any) -> bool:
        """Whether the task brings a command of its own, which is run instead of a call of the function."""
        if delivery[4] is None or b'"command"' not in delivery[4]:
            return False
        from json import loads

        return bool(loads(delivery[4]).get("command"))

    def attempt_command(self, delivery: Any, data: Any, started: float) -> float:
        if self.commands is None:
            from elsewhere.slot.commands import Commands

            self.commands = Commands(self)
        return self.commands.attempt_between(delivery, data, started)  # type: ignore[no-any-return]

    def enter(self, delivery: Any) -> tuple[int, int, bytes] | None:
        """Into a working directory of this attempt's own. Why that cannot be, if it cannot."""
        try:
            self.workplace.enter()  # type: ignore[union-attr]
        except OSError as error:
            return ERRORED, FAILURE, wire.failure("OSError", f"its working directory could not be made: {error}")
        return None

    def refuse(self, delivery: Any, _data: Any, started: float) -> float:
        return self.finish(delivery, (REJECTED, FAILURE, self.broken), started)

    def on_term(self, _signal: int, _frame: object) -> None:
        raise NotImplementedError

    # -- one attempt

    def run(self, delivery: Any, data: Any) -> tuple[int, int, bytes]:
        """(outcome, form, value) of calling the user's function. Only while `phase` is INSIDE may a signal raise."""
        try:
            self.phase = self.INSIDE
            result = self.invoke(delivery, data)
            if type(result) is _COROUTINE:
                result = self.wait_for(result)
            self.phase = self.OWN
        except BaseException as error:
            self.phase = self.OWN
            return self.stopped() if self.stopping else self.raised(error, data)
        if self.stopping and self.stopping != wire.INTERRUPTED:
            return self.stopped()
        if result is None and not self.seed and not self.words["seed_door"]:
            return SUCCEEDED, wire.NOTHING, b""
        return self.judge(result)

    def judge(self, result: Any) -> tuple[int, int, bytes]:
        """What the function's result says."""
        words = self.words
        if self.seed and type(result) not in _WORDS:
            if not isinstance(result, (tuple, list)) or len(result) != 2:
                said = f"it must return (success, result), not {type(result).__name__}"
                return ERRORED, FAILURE, wire.failure("TypeError", said, stderr=self.stderr())
            result = Done(result[1]) if result[0] else Again("it returned (False, ...)")
        if type(result) is Fail:
            return REJECTED, FAILURE, wire.failure("Fail", str(result.reason), stderr=self.stderr())
        if type(result) is Again:
            return self.again(result)
        if type(result) is Done:
            result = result.result
        if words["seed_door"]:
            result = {} if result is None else result
            if values.to_json(result, False) is None:
                from json import dumps

                said = f"{values.culprit(result, 'result', dumps)} is not JSON"
                return REJECTED, FAILURE, wire.failure("result is not JSON", said)
        try:
            # Of a task list, a large result must be on the disk before its outcome is recorded; the value of a call is
            # wanted by a process that a power cut would end too.
            sync = words["kind"] != "call"
            return (SUCCEEDED, *values.write(result, words["exact"], words["store"], words["key"], sync))
        except values.Unsendable as error:
            return REJECTED, FAILURE, wire.failure("PayloadError", str(error), stderr=self.stderr())
        except OSError as error:
            self.give_up(error.errno)

    def again(self, result: Again) -> tuple[int, int, bytes]:
        try:
            value = wire.failure("Again", str(result.reason), after=result.after, state=result.state)
        except (TypeError, ValueError) as error:
            said = f"the state in Again(state=...) is not JSON: {error}"
            return REJECTED, FAILURE, wire.failure("PayloadError", said)
        return wire.ASKED_AGAIN, FAILURE, value

    def raised(self, error: BaseException, data: Any) -> tuple[int, int, bytes]:
        """What an exception says."""
        from elsewhere.slot import failures

        self.flush()
        if isinstance(error, OSError) and error.errno in _FULL and self.is_full():
            self.give_up(error.errno)
        outcome = ERRORED
        if isinstance(data, Broken):
            outcome, error = REJECTED, Unreadable(f"the task's data is not JSON: {data.reason}")
        elif isinstance(error, Unreadable):
            return REJECTED, FAILURE, wire.failure("PayloadError", str(error), failures.text(error))
        elif isinstance(error, MemoryError):
            outcome = wire.OUT_OF_MEMORY
        return outcome, FAILURE, failures.of(error, self.stderr(), self.words["key"])

    def stopped(self) -> tuple[int, int, bytes]:
        """The agent wanted it to end, and it did: nothing of it may be left when that is written down."""
        self.end_children()
        self.flush()
        told = _STOPPED.get(self.stopping, "it was told to end")
        return self.stopping, FAILURE, wire.failure("Stopped", told, stderr=self.stderr())

    def died(self, status: int) -> tuple[int, int, bytes]:
        """What the end of a child process says that left no word of its own."""
        if self.stopping:
            return self.stopped()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            outcome = wire.LOST if number == signal.SIGKILL else ERRORED
            said = f"its process was ended by signal {number} ({children.signal_name(number)})"
            return outcome, FAILURE, wire.failure("Died", said, signal=number, stderr=self.stderr())
        code = os.WEXITSTATUS(status)
        said = f"its process ended with exit status {code}, without a result"
        return ERRORED, FAILURE, wire.failure("Died", said, exit_code=code, stderr=self.stderr())

    def finish(self, delivery: Any, told: tuple[int, int, bytes], started: float) -> float:
        """Append the record: after this the attempt cannot be lost by any process's death."""
        if self.workplace is not None:
            told = self.workplace.leave(delivery, told)
        if self.hidden and told[1] == FAILURE:
            from elsewhere.slot import masking

            told = (told[0], told[1], masking.failure(told[2], self.hidden))
        output = self.output
        for buffer in output.buffers:
            if buffer.written:
                self.flush()
        out, err = os.lseek(1, 0, os.SEEK_END), os.lseek(2, 0, os.SEEK_END)
        ended = monotonic()
        record = wire.RECORD.pack(
            wire.RECORD.size - 4 + len(told[2]), delivery[0], delivery[1], told[0], told[1], output.roll,
            started + self.wall, ended - started, output.out, out, output.err, err,
        ) + told[2]  # fmt: skip
        output.out, output.err = out, err
        try:
            if os.write(self.outcomes, record) == len(record):
                return ended
        except OSError as error:
            self.give_up(error.errno)
        self.give_up(errno.ENOSPC)

    # -- what only some tasks need

    def with_terms(self, delivery: Any, data: Any) -> tuple[int, int, bytes]:
        """As `run`, for a task with options, a limit of memory, or directories of its own."""
        from json import loads

        self.begun = monotonic()
        options = loads(delivery[4]) if delivery[4] is not None else {}
        env = options.get("env") or {}
        before = {name: os.environ.get(name) for name in env}
        os.environ.update(env)
        memory = options.get("memory") or self.memory
        if memory:
            self.limit = self.limit or kernel.Limit()
            wire.BASELINE.pack_into(self.page, wire.BASELINE_AT, kernel.statm()[0])
            self.limit.set(memory)
        try:
            told = self.run(delivery, data)
        finally:
            if self.limit is not None:
                self.limit.lift()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        return told

    def task(self) -> Task:
        """What current_task() gives: made when it is asked for, since most tasks never ask."""
        delivery = self.delivery
        if delivery is None:
            return Task()
        from json import loads

        options = loads(delivery[4]) if delivery[4] is not None else {}
        deadline = self.deadline(options, self.begun)
        return Task(delivery[2], delivery[1], options.get("state"), deadline, self.directory, self.is_stopping)

    def deadline(self, options: dict[str, Any], started: float) -> float | None:
        """When the attempt that began then is told to end: by its timeout, or since its machine ends."""
        limit, ends = options.get("timeout") or self.words["timeout"], self.words["ends"]
        own = started + self.wall + limit if limit else ends
        return min(own, ends or own) or None

    def directory(self, kind: str) -> str:
        if self.directories is None:
            self.directories = Directories(self.words, self.delivery[2])
        return self.directories.scratch() if kind == "scratch" else self.directories.checkpoint()

    def is_stopping(self) -> bool:
        return bool(self.stopping) or self.page[wire.NOTICE_AT] != 0

    def wait_for(self, coroutine: Any) -> Any:
        """The result of a coroutine; the loop stays for the next one. If it is stopped, its `finally` blocks run."""
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(coroutine)
        except Stopped:
            rest = asyncio.all_tasks(self.loop)
            for one in rest:
                one.cancel()
            self.loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            raise

    def stderr(self) -> str:
        self.flush()
        return self.output.tail(self.output.err)

    def flush(self) -> None:
        try:
            self.output.flush()
        except OSError as error:
            self.give_up(error.errno)

    def is_full(self) -> bool:
        """Whether it is our own disk that has no room."""
        disk = os.statvfs(self.words["directory"])
        if disk.f_bavail * disk.f_frsize < wire.SMALL:
            return True
        probe = os.path.join(self.words["directory"], f"{self.output.slot}.probe")
        try:
            with open(probe, "wb") as file:
                file.write(bytes(wire.SMALL))
        except OSError:
            return True
        finally:
            try:
                os.unlink(probe)
            except OSError:
                pass
        return False

    def give_up(self, number: int | None) -> NoReturn:
        """Our files cannot be written: say so and end, so that this attempt is run again."""
        wire.TROUBLE.pack_into(self.page, wire.TROUBLE_AT, number or errno.EIO)
        self.end_children()
        os._exit(wire.IN_TROUBLE)

    # -- children

    def signal_child(self, number: int) -> None:
        children.tell(self.child, number)

    def end_children(self) -> None:
        """Whatever the task left behind: we are its reaper; a fork of ours is not."""
        if os.getpid() == self.pid:
            children.end_all()
