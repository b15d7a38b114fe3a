"""A Dask client that knows tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from distributed import Client, Future

from elsewhere.api.caching import once
from elsewhere.api.dask.records import Record
from elsewhere.api.dask.scheduling import patient, security
from elsewhere.ship.certificates import Papers


class Tags(Protocol):
    """What a client must know of its cluster."""

    @property
    def record(self) -> Record: ...

    @property
    def papers(self) -> Papers: ...

    @property
    def door(self) -> str:
        """By which its scheduler is reached from here."""
        ...

    def usable(self, tag: str) -> str:
        """The tag as it is written; UsageError: there is no such container, or its workers cannot be used."""
        ...


class TaggedClient(Client):  # type: ignore[misc]
    """`dask.distributed.Client`, with `tag=` in `submit` and `map`: the container in which a call runs.

    Without a tag a call runs on any worker.
    """

    def __init__(self, cluster: Tags, **words: Any) -> None:
        patient()
        self._tags = cluster
        super().__init__(cluster.door, security=security(cluster.papers), **words)

    async def _reconnect(self) -> None:
        """Dask's own, for which each future is lost; they say what is to be done."""
        for state in self.futures.values():
            state.cancel(reason="scheduler-connection-lost", msg=lost(self._tags.record.name))
        self.futures.clear()
        await super()._reconnect()

    def submit(
        self, func: Callable[..., Any], *args: Any, tag: str | None = None, cache: bool = False, **words: Any
    ) -> Future:  # fmt: skip
        """Call a function on a worker of this tag. UsageError: there is no such container; nothing is submitted.

        `cache`: its result is kept by content, as of `cacheable`, and found again by later runs.
        """
        return super().submit(once(func) if cache else func, *args, **self._placed(tag, words))

    def map(
        self, func: Callable[..., Any], *iterables: Iterable[Any], tag: str | None = None, cache: bool = False,
        **words: Any,
    ) -> Any:  # fmt: skip
        """Call it for each of these, on workers of this tag."""
        return super().map(once(func) if cache else func, *iterables, **self._placed(tag, words))

    def _placed(self, tag: str | None, words: dict[str, Any]) -> dict[str, Any]:
        if tag is None:
            return words
        return {**words, "resources": {self._tags.usable(tag): 1, **(words.get("resources") or {})}}


def lost(cluster: str) -> str:
    """What the futures of a client say that was cut off for too long."""
    return (
        f"The scheduler of the cluster {cluster} was not heard for two minutes, or has ended, and what this client had "
        "asked for is given up.\nSubmit it again: this client connects again if it can, and cluster.client() makes "
        f"another; `elsewhere cluster status {cluster}` shows whether the cluster is up. What had ended of calls with "
        "cache=True is not computed again."
    )
