"""One task, and the terms on which it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from elsewhere.model import units
from elsewhere.model.resources import Resources
from elsewhere.model.states import Budget

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how soon, a task is tried again.

    `retries` counts tries after the first that follow an error. Interruptions (a preempted machine, a controller that
    was killed) never count. Delays grow by `factor` from `delay` to `max_delay`, each drawn between half and the whole.
    """

    retries: int = 0
    timeouts: int | None = None
    """Retries after a timeout; None: they count as errors."""
    memory: int | None = None
    """Retries after running out of memory; None: they count as errors."""
    losses: int = 3
    """Retries after its process was killed from outside."""
    asks: int | None = 10
    """Retries that the task itself may ask for; None: without end."""
    exit_codes: tuple[int, ...] | None = None
    """Of commands: only these statuses are retried; None: all but 0; (): none, nor the end by a signal."""
    exceptions: bool = True
    """False: what a function raises is final; only the end of its process, by itself or by a signal, is retried."""
    delay: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    max_delay: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        for name in ("delay", "max_delay"):
            object.__setattr__(self, name, units.duration(getattr(self, name)))
        for name in ("retries", "timeouts", "memory", "losses", "asks"):
            value = getattr(self, name)
            if value is None and name not in ("retries", "losses"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number of 0 or more, not {value!r}")
        if self.exit_codes is not None:
            object.__setattr__(self, "exit_codes", tuple(int(code) for code in self.exit_codes))

    def allows(self, failure: Mapping[str, Any]) -> bool:
        """Whether an error of this story (slot/wire.py) may be tried again at all."""
        status = failure.get("exit_code")
        if status is None:
            return self.exceptions if failure.get("signal") is None else self.exit_codes != ()
        return self.exit_codes is None or status in self.exit_codes

    @property
    def budget(self) -> Budget:
        return Budget(self.retries, self.timeouts, self.memory, self.losses, self.asks)

    def wait(self, strikes: int, chance: random.Random) -> timedelta:
        """The delay before the next try, after `strikes` earlier ones of this cause."""
        whole = min(self.delay * self.factor ** min(strikes, 64), self.max_delay)
        return whole * (0.5 + chance.random() / 2)

    @classmethod
    def of(cls, value: RetryPolicy | int | dict[str, Any] | None) -> RetryPolicy:
        """From what a file or a call gave: a count of retries, a mapping of fields, or a policy."""
        if isinstance(value, RetryPolicy):
            return value
        if value is None:
            return cls()
        return cls(retries=value) if isinstance(value, int) else cls(**value)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What one task sets for itself; None and empty mean: as the job says."""

    timeout: timedelta | None = None
    retries: int | None = None
    resources: Resources | None = None
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()


class NewTask(NamedTuple):
    """A task as it is added to a ledger.

    `body` is UTF-8 JSON, read by the slot according to the job's entry: the mapping `data` of a task file; or
    `{"args": [...], "kwargs": {...}}`; or {"pickle": ...}, see ship/codec.py; or `null` for a command.
    `options` is UTF-8 JSON as `options_to_json` writes it, or None when the task sets nothing for itself.
    `priority`: higher goes first, within the job.
    """

    id: str
    body: bytes
    options: bytes | None = None
    priority: int = 0


class Delivery(NamedTuple):
    """A task handed out: what a channel carries to an agent, and an agent to a slot.

    `attempt` is the fence: it grows each time the ledger hands the task out. `alone`: it wants the machine to itself.
    """

    n: int
    attempt: int
    id: str
    body: bytes
    options: bytes | None = None
    alone: bool = False
