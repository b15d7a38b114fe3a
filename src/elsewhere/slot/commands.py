"""One attempt at one command: spawned without a shell, its output straight into the slot's files, its status awaited.

The user's Python is not run here. An empty first word stands for the interpreter that the slot itself runs in.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from elsewhere.slot import kernel, wire
from elsewhere.slot.directories import Directories, Spare
from elsewhere.slot.wire import ERRORED, FAILURE, SUCCEEDED

if TYPE_CHECKING:
    from typing import Any

    from elsewhere.slot.attempts import Attempts

_RUNTIME = 128 << 20
_WANT = ("MemoryError", "bad_alloc", "Cannot allocate memory", "ut of memory")


class Commands:
    """Of one slot."""

    def __init__(self, slot: Attempts) -> None:
        self._slot = slot
        self._env = slot.environ
        self._spare = Spare(slot.words)

    def attempt(self, delivery: Any, _data: Any, started: float) -> float:
        """Run it and append its record; when it ended (CLOCK_MONOTONIC)."""
        from json import loads

        slot = self._slot
        if slot.workplace is not None and (trouble := slot.enter(delivery)):
            return slot.finish(delivery, trouble, started)
        options = loads(delivery[4]) if delivery[4] is not None else {}
        command = options.get("command") or slot.words["command"]
        if not command[0]:
            command = ["python3" if slot.words["box"] else sys.executable, *command[1:]]
        directories = Directories(slot.words, delivery[2], self._spare)
        words = {
            "ELSEWHERE_TASK_ID": delivery[2],
            "ELSEWHERE_ATTEMPT": str(delivery[1]),
            "ELSEWHERE_SCRATCH": directories.scratch(),
            "ELSEWHERE_CHECKPOINT": directories.checkpoint(),
        }
        if deadline := slot.deadline(options, started):
            words["ELSEWHERE_DEADLINE"] = f"{deadline:.3f}"
        words.update(options.get("env") or {})
        env = self._env.copy()
        env.update([(os.fsencode(name), os.fsencode(word)) for name, word in words.items()])
        memory = options.get("memory") or slot.words["memory"]
        if slot.words["box"]:
            command, memory = self._boxed(command, [*slot.words["box"]["names"], *words], memory), 0
        told = self._spawn(command, env, memory)
        slot.end_children()
        directories.tidy(succeeded=told[0] == SUCCEEDED, keep_scratch=True)
        return slot.finish(delivery, told, started)

    def attempt_between(self, delivery: Any, data: Any, started: float) -> float:
        """As `attempt`, in a slot that calls a function at other times."""
        slot = self._slot
        try:
            os.chdir(slot.words["cwd"])  # a function may have left it
        except OSError as error:
            said = f"its directory {slot.words['cwd']} cannot be entered: {error.strerror}"
            return slot.finish(delivery, (ERRORED, FAILURE, wire.failure("OSError", said)), started)
        if slot.words["isolate"]:
            return self.attempt(delivery, data, started)
        # A slot of functions is killed at its agent's death: the command would stay behind.
        kernel.die_with_parent(signal.SIGHUP)
        if os.getppid() != slot.agent:
            os._exit(1)
        ended = self.attempt(delivery, data, started)
        kernel.die_with_parent(signal.SIGKILL)
        return ended

    def _boxed(self, command: list[str], names: list[str], memory: int) -> list[str]:
        """The words that run it in a container of its own, which holds it to its memory if the runtime can."""
        import json
        import sys

        if memory:
            # What the runtime itself holds is not the task's.
            wire.BASELINE.pack_into(self._slot.page, wire.BASELINE_AT, kernel.statm()[0] + _RUNTIME)
        main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
        words = self._slot.words
        plan = {**words["box"], "names": sorted(set(names)), "memory": memory, "inside": command, "page": words["page"]}
        return [sys.executable, main, "keep", json.dumps(plan), "-1", "-1"]

    def _spawn(self, command: list[str], env: dict[bytes, bytes], memory: int) -> tuple[int, int, bytes]:
        slot = self._slot
        if memory:
            wire.BASELINE.pack_into(slot.page, wire.BASELINE_AT, kernel.statm()[0])
        try:
            # SIGPIPE and SIGXFSZ are ignored by Python, and would be in what it starts.
            slot.child = os.posix_spawnp(
                command[0], command, env, setpgroup=0, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
            )
        except (OSError, ValueError) as error:
            # 126 and 127 are what a shell would say; only what is not there at all can never succeed.
            missing = isinstance(error, FileNotFoundError)
            said = f"{command[0]!r} cannot be started: {getattr(error, 'strerror', None) or error}"
            code = 127 if missing else 126
            return ERRORED, FAILURE, wire.failure(type(error).__name__, said, exit_code=code)
        if memory:
            self._hold(slot.child, memory)
        if slot.stopping:
            slot.signal_child(signal.SIGTERM)
        status = os.waitpid(slot.child, 0)[1]
        slot.child = 0
        return self._judge(status, memory)

    def _hold(self, pid: int, memory: int) -> None:
        """The command may not ask for much more than it may use; what it does use is watched by the agent."""
        try:
            from resource import RLIMIT_DATA, prlimit

            prlimit(pid, RLIMIT_DATA, (memory, memory))
        except (ImportError, OSError, ValueError):
            pass

    def _judge(self, status: int, memory: int) -> tuple[int, int, bytes]:
        slot = self._slot
        if slot.stopping and not (slot.stopping == wire.INTERRUPTED and status == 0):
            return slot.stopped()
        if status == 0:
            return SUCCEEDED, wire.NOTHING, b""
        if slot.is_full():
            slot.give_up(28)
        stderr = slot.stderr()
        if memory and any(word in stderr for word in _WANT):
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            said = "it asked for more memory than it may have"
            value = wire.failure("MemoryError", said, exit_code=code, signal=number, stderr=stderr)
            return wire.OUT_OF_MEMORY, FAILURE, value
        if os.WIFEXITED(status):
            code = os.WEXITSTATUS(status)
            return ERRORED, FAILURE, wire.failure("ExitStatus", f"exit status {code}", exit_code=code, stderr=stderr)
        return slot.died(status)
