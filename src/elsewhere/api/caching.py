"""Calls whose results are kept by content: the door to slot/memo.py, and where the results lie."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from elsewhere.config.home import home

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Kept:
    """One result. `name`: of the function; `at`: when it was kept, in seconds since the epoch."""

    name: str
    at: float
    size: int
    path: Path


def root() -> Path:
    """Where results lie: one file each, its owner's alone. Not made here."""
    return home() / "cache" / "calls"


def once(function: Callable[..., Any], again: bool = False) -> Callable[..., Any]:
    """The same function, which looks among the results first. It travels by itself to where nothing of ours is."""
    import cloudpickle  # type: ignore[import-untyped,unused-ignore]

    from elsewhere.slot import memo

    cloudpickle.register_pickle_by_value(memo)
    kept = memo.Memo(function, str(root()), again)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return kept(*args, **kwargs)

    del call.__wrapped__  # and so it is looked for nowhere: it goes as it is
    call.__module__ = "elsewhere_once"
    return call


@overload
def cacheable(function: F) -> F: ...
@overload
def cacheable(function: None = None, *, recompute: bool = False) -> Callable[[F], F]: ...
def cacheable(function: Any = None, *, recompute: bool = False) -> Any:
    """A function whose results are kept, and found again in later runs and by other workers.

        @cacheable
        def model(config: Path, year: int): ...

    Two calls share a result only if the code of the function and of the functions it names, their defaults and globals,
    the versions of the modules they use, and the arguments with their types are the same; of a `pathlib.Path`, the
    bytes of the file. Files that a function finds by itself, and variables of the environment, are not looked at.
    `recompute`: compute again, and keep that. Exceptions are not kept. `elsewhere cache` lists and removes results.
    """
    if function is None:
        return functools.partial(cacheable, recompute=recompute)
    return functools.wraps(function)(once(function, recompute))


def kept() -> Iterator[Kept]:
    """All results, in no order; those that cannot be read are left out."""
    from elsewhere.slot import memo

    for path in root().glob("*"):
        try:
            about = memo.head(str(path))
            yield Kept(str(about["name"]), float(about["at"]), path.stat().st_size, path)
        except Exception:
            continue
