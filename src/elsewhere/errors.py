"""Every error that Elsewhere raises, as one tree, named by what the reader does next.

UsageError: change your call.  PlaceError: the place said no.  TaskError: your code.  InternalError: our bug.
Standard library only; anything may import this module.
"""

from __future__ import annotations


class ElsewhereError(Exception):
    """The root. `hint` is one sentence that says what to do next, or ""; a traceback shows it as a note."""

    exit_status = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else ""

    @property
    def notice(self) -> str:
        """For a line that says why work waits."""
        return self.message


class UsageError(ElsewhereError):
    """Change your call: nothing has been created, changed or run."""

    exit_status = 2


class InvalidTask(UsageError):
    """Tasks that cannot be run as written; `faults` holds every fault of the file, each with its line.

    `twice`: ids that are used more than once, of which only the reader of the file knows the lines. `numbers`: for each
    of those the places, from 1, of the first two tasks that use it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        faults: tuple[str, ...] = (),
        twice: tuple[str, ...] = (),
        numbers: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.faults, self.twice, self.numbers = faults, twice, numbers

    def __str__(self) -> str:
        return _with_faults(self.message, self.faults)


class ConfigError(UsageError):
    """A settings file that cannot be read as written; `faults` as in InvalidTask, each `file:line: what`."""

    def __init__(self, message: str = "", *, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = faults

    def __str__(self) -> str:
        return _with_faults(self.message, self.faults)


def _with_faults(message: str, faults: tuple[str, ...]) -> str:
    return "\n".join((message, *(fault for fault in faults if fault not in message)))


class UnknownPlace(UsageError):
    """No place, profile or job of that name; the hint names the nearest."""


class UnknownJob(UsageError):
    """No job, or more than one, answers to that name."""


class MissingExtra(UsageError):
    """A part that is not installed; the hint is the pip command that installs it."""


class JobHeld(UsageError):
    """Another controller has the job: `host` and `pid` say which."""

    def __init__(self, message: str = "", *, hint: str = "", host: str = "", pid: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.host, self.pid = host, pid


class JobAway(UsageError):
    """The controller of the job sits on another machine, where it is to be asked: `job` is its id, `reference` as it
    was called."""

    def __init__(self, message: str, *, hint: str = "", job: str = "", reference: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job, self.reference = job, reference


class StateError(UsageError):
    """The state directory cannot be used as it is: full, read-only, damaged, or written by a newer version."""


class PlaceError(ElsewhereError):
    """The place said no. `transient` means that asking again later may help."""

    exit_status = 3
    transient = False


class Vacant(PlaceError):
    """The machine on which a controller sat is gone, or about to go."""


class NoCapacity(PlaceError):
    """The place has none left of this offer just now."""

    transient = True


class QuotaExceeded(PlaceError):
    """The account may not have more of this."""


class Refused(PlaceError):
    """The place refused the request itself."""


class AccessDenied(PlaceError):
    """The credentials do not allow it."""


class CredentialsExpired(PlaceError):
    """The credentials were good and are no longer; the hint is the command that logs in again, and work goes on."""

    transient = True

    @property
    def notice(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class Unreachable(PlaceError):
    """No answer. It says nothing about whether the request had its effect."""

    transient = True


class Throttled(PlaceError):
    """The place was asked too often; this call had no effect."""

    transient = True


class NotFound(PlaceError):
    """The place does not know the thing."""


class TaskError(ElsewhereError):
    """Your code, or what became of it. `task`, `attempt`, `exit_code` and `stderr` (its tail) say where."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        task: str = "",
        attempt: int = 0,
        exit_code: int | None = None,
        stderr: str = "",
        traceback: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.task, self.attempt, self.exit_code = task, attempt, exit_code
        self.stderr, self.traceback = stderr, traceback


class TaskFailed(TaskError):
    """The task raised, or its process ended with a status other than 0."""


class TaskTimedOut(TaskError):
    """The task ran longer than its timeout."""


class TaskOutOfMemory(TaskError):
    """The task used more memory than it may."""


class TaskCancelled(TaskError):
    """The task was cancelled."""


class TaskLost(TaskError):
    """The task's process or machine vanished more often than its policy allows."""


class PayloadError(TaskError, UsageError):
    """An argument, function or result that cannot travel: which object, and on which side."""

    exit_status = 2


class RemoteTraceback(Exception):
    """The text of a traceback from the far side; it stands as the cause of the exception that came home."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0]).rstrip() if self.args else ""


class InternalError(ElsewhereError):
    """Our bug."""


class InvalidMove(InternalError):
    """A thing was asked to make a move that its state does not allow; the message tells its story."""
