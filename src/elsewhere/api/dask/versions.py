"""Which Python and which Dask: both ends must have the same, and it is said before anything is submitted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from elsewhere.errors import MissingExtra, UsageError

_ASK = "import sys, distributed; print('%d.%d' % sys.version_info[:2], distributed.__version__)"


class Versions(NamedTuple):
    python: str
    dask: str


def here() -> Versions:
    """Ours. MissingExtra: Dask is not installed."""
    try:
        found = version("distributed")
    except PackageNotFoundError:
        raise MissingExtra("Dask clusters need distributed, which is not installed",
                           hint="pip install 'elsewhere[dask]'") from None  # fmt: skip
    return Versions(f"{sys.version_info[0]}.{sys.version_info[1]}", found)


def told(answer: Mapping[str, Any]) -> Versions:
    """As a Dask worker tells them when it arrives."""
    python = ".".join(str(answer.get("host", {}).get("python", "")).split(".")[:2])
    return Versions(python, str(answer.get("packages", {}).get("distributed", "")))


def differ(theirs: Versions, ours: Versions, who: str) -> str:
    """What keeps these from working together, as a sentence; empty: nothing."""
    if theirs.python != ours.python:
        return f"{who} has Python {theirs.python}, and this is Python {ours.python}: they must be the same"
    if theirs.dask != ours.dask:
        return f"{who} has Dask {theirs.dask}, and this Python has Dask {ours.dask}: they must be the same"
    return ""


def check(python: Callable[[list[str]], Sequence[str]], who: str, env: Mapping[str, str]) -> None:
    """UsageError: an interpreter lacks Dask, or has another than ours. `python`: the words that run it with these."""
    done = subprocess.run(
        python(["-c", _ASK]), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, **env},
    )  # fmt: skip
    said = done.stdout.split()[-2:]
    ours = here()
    if done.returncode or len(said) != 2:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise UsageError(f"{who} cannot be a Dask worker: {last}", hint=_hint(ours))
    if why := differ(Versions(*said), ours, who):
        raise UsageError(why, hint=_hint(ours))


def _hint(ours: Versions) -> str:
    return f"It needs Python {ours.python} with distributed=={ours.dask} in it."
