"""The bounds of what runs: time, memory, the grace after SIGTERM; and a full disk, until there is room again.

Only looks and says what is due; stopping and giving are done by `Slots`.
"""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

from elsewhere.agent import processes
from elsewhere.agent.boot import Boot
from elsewhere.agent.budget import Budget
from elsewhere.agent.child import Child, Key
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.slot import wire

LOOK = 0.05
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_PROBE = bytes(256 << 10)


class Terms:
    """How long each attempt may run and how much memory it may hold; and what it needs, where that is its own."""

    def __init__(self, boot: Boot, budget: Budget) -> None:
        self._budget = budget
        self._timeout = boot.timeout.total_seconds() if boot.timeout else 0.0
        self._memory = boot.resources.memory or 0
        self.own: dict[Key, tuple[float, int]] = {}
        self.needs: dict[Key, Resources] = {}
        """Each of these stands in `own` too."""
        self.large: set[Key] = set()
        """Those of `needs` that may have to wait for room on this machine."""

    def __bool__(self) -> bool:
        return bool(self._timeout or self._memory or self.own)

    def read(self, delivery: Delivery) -> None:
        """What a task sets for itself."""
        options = json.loads(delivery.options or b"{}")
        timeout, memory = options.get("timeout") or 0.0, options.get("memory") or 0
        key, need = delivery[:2], self._budget.plain.own(options)
        if need != self._budget.plain:
            self.needs[key] = need
            if self._budget.is_large(need):
                self.large.add(key)
        if timeout or memory or key in self.needs:
            self.own[key] = (timeout, memory)

    def forget(self, key: Key) -> None:
        """It has ended, or is given back."""
        self.own.pop(key, None)
        self.needs.pop(key, None)
        self.large.discard(key)

    def need(self, key: Key) -> Resources:
        return self.needs.get(key, self._budget.plain)

    def of(self, key: Key) -> tuple[float, int]:
        """(seconds, bytes); 0: no bound."""
        timeout, memory = self.own.get(key, (0.0, 0))
        return timeout or self._timeout, memory or self._memory


def verdict(child: Child, terms: Terms, now: float) -> tuple[tuple[Key, Outcome] | None, float]:
    """(what has to be stopped, and why), and when to look again."""
    work = child.at_work()
    if work is None or work[0] not in child.given:
        return None, now + (LOOK if terms else 1.0)
    key, started = work
    timeout, memory = terms.of(key)
    again = now + (LOOK if memory or terms.own or len(child.given) > 1 else 1.0)
    if timeout:
        if now >= started + timeout:
            return (key, Outcome.TIMED_OUT), again
        again = min(again, started + timeout)
    if memory and _is_too_large(child, memory):
        return (key, Outcome.OUT_OF_MEMORY), again
    return None, again


def _is_too_large(child: Child, memory: int) -> bool:
    allowed: int = memory + wire.BASELINE.unpack_from(child.page, wire.BASELINE_AT)[0]
    return processes.resident(child.body) > allowed and processes.proportional(child.body) > allowed


class Disk:
    """Whether slots can write their files. `trouble` is a sentence while they cannot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.trouble = ""
        self._tried = 0.0

    def failed(self, number: int) -> None:
        self.trouble = f"{self._directory} cannot be written: {os.strerror(number or errno.EIO)}"
        self._tried = time.monotonic()

    def due(self) -> float:
        """When to try again."""
        return self._tried + 1.0 if self.trouble else float("inf")

    def try_again(self) -> bool:
        """Whether there is room again."""
        self._tried = time.monotonic()
        probe = self._directory / "probe"
        try:
            probe.write_bytes(_PROBE)
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
        self.trouble = ""
        return True
