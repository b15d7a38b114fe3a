"""What calls may ask for, by name: the one list of options, for type checkers and editors. options.py checks them.

`remote` explains each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict

from elsewhere.errors import UsageError
from elsewhere.model.job import Environment
from elsewhere.model.task import RetryPolicy


class OfOne(TypedDict, total=False):
    """Of one command."""

    on: str | None
    retries: int | RetryPolicy | None
    walltime: str | float | timedelta | None
    timeout: str | float | timedelta | None
    cpus: float | None
    memory: str | int | None
    env: Mapping[str, str] | None
    secrets: Mapping[str, str] | Sequence[str] | None
    name: str | None
    environment: str | Environment | None
    image: str | None
    inputs: Sequence[str] | None
    outputs: Sequence[str] | None
    profile: str | None
    spot: bool | Literal["prefer"] | None
    budget: str | float | Decimal | None


class OfMany(OfOne, total=False):
    """Of many commands."""

    slots: int | None
    how: Literal["array", "pilots"] | None


class OfCalls(OfMany, total=False):
    """Of a function."""

    gpus: str | int | None
    python: str | None
    isolate: bool | None
    priority: int | None


def given(terms: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Those that are not None. UsageError, naming the nearest, for one that calls of this kind do not have."""
    from elsewhere.config.faults import nearest

    known = list(kind.__annotations__)  # of a TypedDict these are those of its bases too
    wrong = [f"unknown option {name!r}{nearest(name, known)}" for name in terms if name not in known]
    if wrong:
        raise UsageError("; ".join(wrong), hint="help(elsewhere.remote) explains the options.")
    return {name: value for name, value in terms.items() if value is not None}
