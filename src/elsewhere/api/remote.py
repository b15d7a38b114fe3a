"""`@remote`: a function that runs elsewhere when it is called.

This module is loaded by every script that says `from elsewhere import remote`, in slots too: no import may stand at its
top, not even of the standard library's typing. What a call needs is imported by the first call.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from typing import Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

    from elsewhere.api.options import Options
    from elsewhere.api.terms import OfCalls

    P = ParamSpec("P")
    R = TypeVar("R")

    class _Typed(Generic[P, R]): ...
else:
    P = R = None

    class _Typed:
        def __class_getitem__(cls, _: object) -> type:
            return cls

    def overload(function):
        return function


def inside() -> bool:
    """Whether this process is a slot: there a remote function runs where it is called, in the task that calls it."""
    task = sys.modules.get("elsewhere.slot.task")
    return task is not None and bool(task.asked)


class Remote(_Typed[P, R]):
    """A function with a place to run in. `f(2)` waits for the value, or raises what the function raised there.

    Inside a slot all of these run the function right there, in the calling task: a remote function that calls another
    (or itself) costs no second slot, and cannot fill the machine with waiting ones.
    """

    def __init__(self, function: Callable[P, R], settings: Mapping[str, Any] | None = None) -> None:
        self.__wrapped__ = function
        self._settings = dict(settings or {})
        self._options: Options | None = None
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            found = getattr(function, name, None)
            if found is not None:
                setattr(self, name, found)
        if self._settings and not inside():  # a slot's Python may lack what checking them needs
            self._checked()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it there and wait for its value. An interrupt cancels it."""
        if inside():
            return self.__wrapped__(*args, **kwargs)
        from elsewhere.api import calls

        return calls.call(self._subject(), self._checked(), args, kwargs)  # type: ignore[no-any-return]

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """A future at once. `cancel()` works until the task has ended, and stops it if it runs."""
        from elsewhere.api import calls

        if inside():
            return calls.done_here(self.__wrapped__, args, kwargs)
        return calls.submit(self._subject(), self._checked(), args, kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, awaited; cancelling the awaiting task cancels the call."""
        from elsewhere.api import calls

        if inside():
            return await calls.await_here(self.__wrapped__, args, kwargs)  # type: ignore[no-any-return]
        from asyncio import wrap_future

        return await wrap_future(calls.submit(self._subject(), self._checked(), args, kwargs))

    def map(
        self,
        first: Iterable[Any],
        *more: Iterable[Any],
        ordered: bool = True,
        errors: Literal["raise", "return", "skip"] = "raise",
        window: int | None = None,
    ) -> Iterator[R]:
        """The results of calling it with each item (of several iterables: with one item of each), as they come.

        Inputs are read as there is room for them, `window` at most are under way or waiting to be taken (None: enough
        to keep the slots busy): any length, bounded memory. `ordered` False gives them as they complete. `errors`:
        raise the first, return exceptions in the place of results, or skip those. Leaving the loop cancels the rest.
        """
        from elsewhere.api import flow

        if inside():
            return flow.here(self.__wrapped__, (first, *more), errors)
        return flow.each(self._subject(), self._checked(), (first, *more), ordered, errors, window)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The plain function, here."""
        return self.__wrapped__(*args, **kwargs)

    def options(
        self,
        **terms: Unpack[OfCalls],
    ) -> Remote[P, R]:
        """The same function with other options; this one stays as it is."""
        given = {name: value for name, value in terms.items() if value is not None}
        return Remote(self.__wrapped__, {**self._settings, **given})

    def __get__(self, owner: object, _kind: type | None = None) -> Remote[..., R]:
        if owner is None:
            return self
        from types import MethodType

        return Remote(MethodType(self.__wrapped__, owner), self._settings)

    def __repr__(self) -> str:
        where = self._settings.get("on", "local")
        return f"<remote {getattr(self, '__qualname__', self.__wrapped__)!s} on {where}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By its name where another process finds it by that name, otherwise by value."""
        if self._is_named():
            return str(vars(self)["__qualname__"])
        return Remote, (self.__wrapped__, self._settings)

    def _is_named(self) -> bool:
        module = getattr(self, "__module__", "__main__")
        found: Any = sys.modules.get(module)
        if module == "__main__" or found is None:
            return False
        for part in getattr(self, "__qualname__", "<>").split("."):
            found = getattr(found, part, None)
        if found is not self:
            return False
        from elsewhere.ship.codec import importable

        return importable(sys.modules[module])

    def _subject(self) -> Callable[..., Any]:
        """What travels: our own name where that can be found there, else the function itself."""
        return self if self._is_named() else self.__wrapped__

    def _checked(self) -> Options:
        if self._options is None:
            from elsewhere.api.options import Options

            self._options = Options.of(self._settings)
        return self._options


@overload
def remote(function: Callable[P, R], /) -> Remote[P, R]: ...


@overload
def remote(  # noqa: F811
    **terms: Unpack[OfCalls],
) -> Callable[[Callable[P, R]], Remote[P, R]]: ...


def remote(function=None, /, **settings):  # type: ignore[no-untyped-def]  # noqa: F811
    """Make a function run elsewhere: `@remote`, or with options `@remote(on="local", retries=3, timeout="30s")`.

    on        the place (`local`)                          slots     how many run at a time (the CPUs we may use)
    retries   tries after the first error, or a policy     timeout   of each try: "30s", seconds, or a timedelta
    cpus, memory, gpus   what one call needs               env       variables of the task
    secrets   names of variables whose values are never written down, or where they are kept: {"TOKEN": "env:OTHER"}
    python    the interpreter of the slots (ours)          isolate   a fresh process for each call
    spot      True, "prefer": machines that may be taken back (of places that sell)    budget   dollars for the job
    priority  beside other jobs, higher goes first         name      the job's name     profile   named settings
    environment   an Environment, or the name of one of the settings: the software that the calls need
    walltime  how long a job of a batch system may live, over what the place says
    how       "array": as one array of a batch system; "pilots": as a few jobs of it that share the calls
    image     the container image that the calls run in: docker.io/library/python:3.12, oci-archive:FILE, FILE.sif
    inputs, outputs   files and URLs that each call finds in a working directory of its own; globs of what it leaves

    UsageError says which option is wrong, when the function is decorated; nothing is started before the first call.
    """
    if function is None:
        return lambda given: remote(given, **settings)
    if not callable(function):
        raise TypeError(f"remote decorates a function, not a {type(function).__name__}; options go by name")
    return Remote(function, settings)
