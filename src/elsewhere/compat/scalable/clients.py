"""Scalable's client, of a cluster of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distributed import Future

from elsewhere.api.dask.clients import TaggedClient
from elsewhere.errors import UsageError


class ScalableClient(TaggedClient):
    """A Dask client with `tag=` and `n=` in `submit` and `map`."""

    def submit(self, func: Callable[..., Any], *args: Any, tag: str | None = None, n: int = 1, **words: Any) -> Future:
        """Call a function on a worker of this tag. UsageError: there is no such container."""
        _one(n)
        return super().submit(func, *args, tag=tag, **words)

    def map(
        self, func: Callable[..., Any], *parameters: Iterable[Any], tag: str | None = None, n: int = 1, **words: Any
    ) -> Any:
        """Call it for each of these, on workers of this tag."""
        _one(n)
        return super().map(func, *parameters, tag=tag, **words)


def _one(n: int) -> None:
    if n != 1:
        raise UsageError(f"a worker runs one call at a time, so none of them can be given n={n}", hint="Leave n out.")
