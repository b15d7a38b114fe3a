"""Functions, arguments, results and exceptions on their way out and home, on the side of the user's process.

What the slot does with the same bytes stands in slot/values.py. Nothing is unpickled here that its job did not seal,
and nothing of this runs in a controller: a pickle is opened only where the user's code runs.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import inspect
import json
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from elsewhere.errors import (
    PayloadError,
    RemoteTraceback,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskLost,
    TaskOutOfMemory,
    TaskTimedOut,
)
from elsewhere.model.states import Outcome
from elsewhere.slot import values, wire

_HERE = "leave it out, or make it where it is used (inside the function)"
_registry = threading.Lock()
"""cloudpickle's list of modules that travel by value is one for the whole process."""

_KINDS: Mapping[Outcome, type[TaskError]] = {
    Outcome.TIMED_OUT: TaskTimedOut,
    Outcome.OUT_OF_MEMORY: TaskOutOfMemory,
    Outcome.CANCELLED: TaskCancelled,
    Outcome.INTERRUPTED: TaskCancelled,
    Outcome.LOST: TaskLost,
}


class Codec:
    """Writes calls into one job: its store's directory, and the key that seals its pickles."""

    def __init__(self, store: Path, key: bytes) -> None:
        self.store, self.key = str(store), key
        self._sent: set[str] = set()

    def function(self, function: Callable[..., Any]) -> str:
        """The name under which the store has this function as it is now; the same for the same code and globals.

        A function of an importable module goes by reference, any other (of `__main__`, a notebook, a lambda, a closure)
        by value, with the globals that it uses. PayloadError names what cannot travel.
        """
        try:
            body, buffers = dump_function(function)
        except Exception as error:
            raise _blame(function, f"the function {name_of(function)}", error) from error
        whole = hashlib.blake2b(body, digest_size=16)
        for buffer in buffers:
            whole.update(buffer.raw())
        digest = whole.hexdigest()
        if digest not in self._sent:
            self._keep(digest, body, buffers)
            self._sent.add(digest)
        return digest

    def _keep(self, digest: str, body: bytes, buffers: Sequence[Any]) -> None:
        path = values.path_of(self.store, digest)
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(values.path_of(self.store, values.keep_pickle(self.store, self.key, body, buffers))).replace(path)

    def call(self, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[bytes, int, str]:
        """(the body of a task, its size with what lies in the store, the store's key of that or "").

        PayloadError names the argument that cannot travel.
        """
        call = {"args": list(args), "kwargs": dict(kwargs)}
        plain = values.to_json(call, exact=True)
        if plain is not None and len(plain) <= wire.SMALL:
            return b'{"function":"%b",%b' % (function.encode(), plain[1:]), len(plain), ""
        try:
            body, buffers = _dumps((tuple(args), dict(kwargs)))
            size = len(body) + sum(buffer.raw().nbytes for buffer in buffers)
            if size <= wire.SMALL:
                body = _dumps((tuple(args), dict(kwargs)), in_band=True)[0] if buffers else body
                text = base64.b64encode(values.seal(self.key, body))
                return b'{"function":"%b","pickle":"%b"}' % (function.encode(), text), len(text), ""
        except Exception as error:
            raise _blame_arguments(args, kwargs, error) from error
        key = values.keep_pickle(self.store, self.key, body, buffers)
        return b'{"function":"%b","stored":"%b"}' % (function.encode(), key.encode()), size, key

    def forget(self, key: str) -> None:
        """Remove the arguments of a call that will not be made again. Twice: harmless."""
        Path(values.path_of(self.store, key)).unlink(missing_ok=True)

    def value(self, form: int, value: bytes) -> Any:
        """The result of a success."""
        return decode(form, value, self.store, self.key)

    def error(self, outcome: Outcome, value: bytes, task: str = "", attempt: int = 0) -> BaseException:
        """The exception of anything but a success."""
        return exception(outcome, value, self.key, task, attempt)


def decode(form: int, value: bytes, store: str | Path, key: bytes) -> Any:
    """The value of a success. PayloadError if it was not sealed by this job, or cannot be opened here."""
    try:
        return values.read(form, value, str(store), key)
    except values.Unsealed as error:
        raise PayloadError(f"a result is not opened: {error}") from None
    except FileNotFoundError as error:
        raise PayloadError(f"the file of a result is gone: {error.filename}") from None
    except Exception as error:
        raise PayloadError(f"a result came home but cannot be opened here: {type(error).__name__}: {error}") from error


def exception(outcome: Outcome, value: bytes, key: bytes, task: str = "", attempt: int = 0) -> BaseException:
    """What the task raised, as the type it was, or the TaskError that says what became of it.

    The far side's traceback is its cause; `task`, `attempt`, `exit_code` and `stderr` (its tail) are set on it.
    """
    story = _story(value)
    home = _unpickled(story.get("pickle", ""), key) if outcome is Outcome.ERRORED else None
    if not isinstance(home, Exception):  # a task's SystemExit or KeyboardInterrupt must not end the program at home
        home = _task_error(outcome, story)
    for name, part in (
        ("task", task),
        ("attempt", attempt),
        ("exit_code", story.get("exit_code")),
        ("stderr", story.get("stderr", "")),
    ):
        with contextlib.suppress(AttributeError, TypeError):
            setattr(home, name, part)
    if story.get("traceback"):
        home.__cause__ = RemoteTraceback(story["traceback"])
        home.__suppress_context__ = True
    return home


def _story(value: bytes) -> dict[str, Any]:
    try:
        story = json.loads(value) if value else {}
    except ValueError:
        story = {"message": value.decode("utf-8", "replace")}
    return story if isinstance(story, dict) else {}


def _unpickled(text: str, key: bytes) -> BaseException | None:
    if not text:
        return None
    try:
        return values.load_error(values.unseal(key, base64.b64decode(text)))
    except Exception:  # whatever the user's own types raise: the text of it still comes home
        return None


def _task_error(outcome: Outcome, story: Mapping[str, Any]) -> TaskError:
    kind, message = story.get("type", ""), str(story.get("message", ""))
    if kind == "PayloadError":
        return PayloadError(message, traceback=story.get("traceback", ""))
    shown = f"{kind}: {message}" if outcome is Outcome.ERRORED and kind and message else message or kind
    made = _KINDS.get(outcome, TaskFailed)
    return made(shown or f"the task {outcome.name.lower().replace('_', ' ')}", traceback=story.get("traceback", ""))


# Functions


def name_of(function: Callable[..., Any]) -> str:
    """For people: its qualified name, that of what a partial wraps, or its type's."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def dump_function(function: Callable[..., Any]) -> tuple[bytes, list[Any]]:
    """(its pickle, the buffers in it)."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or importable(module):
        return _dumps(function)
    import cloudpickle  # type: ignore[import-untyped,unused-ignore]

    with _registry:
        known = module.__name__ in cloudpickle.list_registry_pickle_by_value()
        cloudpickle.register_pickle_by_value(module)
        try:
            return _dumps(function)
        finally:
            if not known:
                cloudpickle.unregister_pickle_by_value(module)


def importable(module: ModuleType) -> bool:
    """Whether another process of this interpreter, given `import_path`, finds the module by its name."""
    return _findable(module.__name__.partition(".")[0], tuple(sys.path))


@functools.lru_cache(maxsize=256)
def _findable(top: str, _path: tuple[str, ...]) -> bool:
    for finder in sys.meta_path:
        with contextlib.suppress(Exception):  # a finder of somebody else's: what it raises says no more than None
            if finder.find_spec(top, None) is not None:
                return True
    return False


def import_path() -> tuple[str, ...]:
    """The directories that this process can import from and a fresh process of the same interpreter cannot."""
    own = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    own |= {os.path.realpath(path) for path in [*site.getsitepackages(), site.getusersitepackages()]}
    stdlib = os.path.realpath(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    for entry in sys.path:
        path = os.path.realpath(entry or Path.cwd())
        if path in own or path.startswith(stdlib + os.sep) or (path.endswith(".zip") and not Path(path).exists()):
            continue
        if Path(path).exists():
            found[path] = None
    return tuple(found)


def _dumps(value: Any, in_band: bool = False) -> tuple[bytes, list[Any]]:
    """By cloudpickle throughout: pickle would name the classes of our `__main__`, which the far side does not have."""
    import cloudpickle

    buffers: list[Any] = []
    return cloudpickle.dumps(value, 5, buffer_callback=None if in_band else buffers.append), buffers


# Blame


def _blame_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception) -> PayloadError:
    for number, value in enumerate(args):
        if not _travels(value):
            return _blame(value, f"argument {number + 1}", error)
    for name, value in kwargs.items():
        if not _travels(value):
            return _blame(value, f"argument {name!r}", error)
    return PayloadError(f"the arguments cannot travel: {error}")


def _blame(value: Any, where: str, error: Exception) -> PayloadError:
    """Follow the first part that does not travel to the innermost one."""
    path, seen = where, {id(value)}
    for _ in range(20):
        for step, part in _parts(value):
            if id(part) not in seen and not _travels(part):
                path, value = path + step, part
                seen.add(id(part))
                break
        else:
            break
    inner = "it" if path == where else path
    return PayloadError(
        f"{where} cannot travel to the task: {inner} is a {_kind(value)} ({type(error).__name__}: {error})", hint=_HERE
    )


def _kind(value: Any) -> str:
    made = type(value)
    return made.__qualname__ if made.__module__ == "builtins" else f"{made.__module__}.{made.__qualname__}"


def _travels(value: Any) -> bool:
    try:
        _dumps(value)
    except Exception:
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{name!r}]", part) for name, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from ((f".{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
    elif inspect.ismethod(value):
        yield ".__self__", value.__self__
    elif inspect.isfunction(value):
        with contextlib.suppress(ValueError):
            found = inspect.getclosurevars(value)
            yield from ((f" -> its variable {name!r}", part) for name, part in found.nonlocals.items())
            yield from ((f" -> the global {name!r}", part) for name, part in found.globals.items())
        yield " -> its defaults", value.__defaults__
    elif hasattr(value, "__dict__"):
        yield from ((f".{name}", part) for name, part in vars(value).items())
