"""Words as values: what the options of several commands have in common. ValueError says what a value looks like."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path


def count(text: str) -> int:
    """A whole number of 0 or more."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return number


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return number


def whole(text: str) -> int:
    """A whole number, which may be negative."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def cpus(text: str) -> float:
    """A number of CPUs; may be a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ValueError(f"{text!r} is not a number of CPUs; write for example 2 or 0.5")
    return number


def gpus(text: str) -> str:
    """`2`, or `a100:1`."""
    if not text.rpartition(":")[2].isdecimal() or text.startswith(":"):
        raise ValueError(f"{text!r} is not a number of GPUs; write for example 1 or a100:1")
    return text


def size(text: str) -> int:
    from elsewhere.model import units

    return units.size(text)


def duration(text: str) -> timedelta:
    from elsewhere.model import units

    return units.duration(text)


def share(text: str) -> int | Decimal:
    from elsewhere.model import units

    return units.share(text)


def path(text: str) -> Path:
    if not text:
        raise ValueError("an empty path")
    return Path(text).expanduser()


def _is_name(name: str) -> bool:
    return bool(name) and (name[0].isalpha() or name[0] == "_") and name.replace("_", "a").isalnum()


def secret(text: str) -> tuple[str, str]:
    """`NAME=REFERENCE`; `NAME` alone refers to the variable of that name here. What is refused is not said again."""
    from elsewhere.config.secret import is_reference

    name, equals, reference = text.partition("=")
    if not _is_name(name):
        raise ValueError("the name of a variable comes first: HF_TOKEN, or HF_TOKEN=env:OTHER")
    if equals and not is_reference(reference):
        raise ValueError(
            f"{name} wants a reference, env:OTHER, file:PATH or keyring:SERVICE/USER; the secret itself would stand in "
            "the list of processes, where others may read it"
        )
    return name, reference if equals else f"env:{name}"


def variable(text: str) -> tuple[str, str]:
    """`NAME=value`; `NAME` alone takes the value that it has here."""
    import os

    name, equals, value = text.partition("=")
    if not _is_name(name):
        raise ValueError(f"{text!r} is not a variable; write NAME=value, or NAME to pass on the one that is set here")
    if not equals:
        if name not in os.environ:
            raise ValueError(f"{name} is not set here, so it cannot be passed on; write {name}=value")
        value = os.environ[name]
    return name, value
