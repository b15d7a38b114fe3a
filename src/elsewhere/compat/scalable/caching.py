"""Scalable's `cacheable`: its words, for results that are kept by all that decides them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elsewhere.api.caching import once
from elsewhere.slot.memo import key


class GenericType:
    """An argument or a result that is its value."""


class ValueType(GenericType):
    """A number, a text."""


class ObjectType(GenericType):
    """Any object that can be pickled."""


class UtilityType(GenericType):
    """A table, an array."""


class FileType(GenericType):
    """The path of a file: what counts is what is in it."""


class DirType(GenericType):
    """The path of a directory: what counts is what is in its files."""


_PATHS = (FileType, DirType)


def cacheable(
    return_type: Any = None, void: bool = False, check_output: bool = False, recompute: bool = False,
    store: bool = True, **arg_types: type,
) -> Callable[..., Any]:  # fmt: skip
    """Keep what a function returns: `@cacheable`, or with words `@cacheable(return_type=FileType, config=FileType)`.

    A result that is a file or directory is given again only while that is as it was left. `void`, `check_output`: it is
    always so. `store`: False: nothing is kept.
    """
    if inspect.isfunction(return_type):
        plain: Callable[..., Any] = cacheable()(return_type)
        return plain
    files = {name for name, kind in arg_types.items() if issubclass(kind, _PATHS)}
    returns = isinstance(return_type, type) and issubclass(return_type, _PATHS)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if not store:
            return function
        signature = inspect.signature(function)

        def whole(given: dict[str, Any]) -> tuple[Any, str]:
            bound = signature.bind_partial()
            bound.arguments.update({name: str(one) if name in files else one for name, one in given.items()})
            value = function(*bound.args, **bound.kwargs)
            return value, _mark(value) if returns else ""

        whole.__qualname__ = function.__qualname__
        first, again = once(whole, recompute), once(whole, again=True)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = {name: Path(one) if name in files else one for name, one in bound.arguments.items()}
            value, mark = first(given)
            return again(given)[0] if returns and _mark(value) != mark else value

        return call

    return decorate


def _mark(value: Any) -> str:
    """Of what is in a file or directory."""
    return key(_mark, (Path(value),), {})
