"""Finds the function that a job's tasks call, in the user's own interpreter, as the user's own code would be found.

Loads the user's code and nothing else.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

SEEDS = ("task_id", "task_data", "worker_data")


class _Lender:
    """Serves a few packages from directories of ours; it stands last, so that the user's own come first."""

    def __init__(self, packages: dict[str, str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        directory = self._packages.get(name)
        if directory is None:
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, [os.path.dirname(directory)])


def lend(packages: dict[str, str]) -> None:
    """`packages` (name -> its directory) can be imported where the user has none of that name."""
    sys.meta_path.append(_Lender(packages))


def prepare(path: Sequence[str], cwd: str, target: str) -> None:
    """Make importable: `path` first, then the entry's own directory, then `cwd`; then what there is."""
    places = [*path, cwd]
    file, _, name = target.rpartition(":")
    if name and file.endswith(".py"):
        places.insert(len(path), os.path.dirname(os.path.join(cwd, file)))
    sys.path[:0] = [place for i, place in enumerate(places) if place and place not in places[:i]]


def find(target: str, cwd: str) -> Callable[..., Any]:
    """The function that `module:function` or `path.py:function` names. Raises what the user's code raises."""
    where, _, name = target.rpartition(":")
    if where.endswith(".py"):
        found: Any = _run_file(os.path.join(cwd, where))
    else:
        from importlib import import_module

        found = import_module(where)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{target} is not a function but of the type {type(found).__name__}")
    return plain(found)


def plain(found: Any) -> Callable[..., Any]:
    """The user's function itself, without what `remote` put around it: here it runs, it is not sent away again."""
    if type(found).__module__.partition(".")[0] == "elsewhere" and hasattr(found, "local"):
        found = found.local
    return found  # type: ignore[no-any-return]


def is_seed(function: Any) -> bool:
    """True for a function whose three parameters are task_id, task_data, worker_data."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return code is not None and code.co_varnames[: code.co_argcount] == SEEDS


def _run_file(path: str) -> ModuleType:
    """The module that a file is, under its own name unless that is taken by another."""
    from importlib.util import module_from_spec, spec_from_file_location

    name = os.path.basename(path)[:-3]
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) and os.path.samefile(known.__file__, path):  # type: ignore[arg-type]
            return known
        name = "elsewhere_entry_" + name
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as Python")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
