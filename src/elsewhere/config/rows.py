"""One task as people write it, checked: every key, every value, and what to write instead.

The readers of all formats end here when a task is not of the plainest kind. Pure: mappings in, NewTask or problems out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from elsewhere.config.faults import article, nearest
from elsewhere.model import units
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask

KEYS = ("task_id", "data", "timeout", "retries", "resources", "env", "command", "priority")
RESOURCES = ("cpus", "memory", "gpus", "gpu_type", "disk")
LONGEST_ID = 500
NULL = b"null"
PRIORITIES = range(-(2**31), 2**31)

_BAD_ID = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_encode = msgspec.json.Encoder().encode


def new_task(
    found: object, encode: Callable[[Any], bytes], problems: list[str], generated: str | None = None
) -> NewTask | None:
    """The task that `found` describes, or None with what is wrong appended to `problems`.

    `encode` makes UTF-8 JSON of the value of `data`, or raises ValueError with the reason. `generated` is the id of a
    task that names none; without it an id is required.
    """
    if not isinstance(found, Mapping):
        problems.append(f"a task must be a mapping with task_id and data, not {article(found)}")
        return None
    before = len(problems)
    found = _known(found, KEYS, "key", problems)
    name = _id(found, generated, problems)
    body = _body(found, encode, problems)
    priority = _whole("priority", found.get("priority"), problems)
    if priority is not None and priority not in PRIORITIES:  # in this order: None would be sought in all of the range
        problems.append("priority must lie between -2147483648 and 2147483647")
    own = options(found, problems)
    if len(problems) > before:
        return None
    return NewTask(name, body, own, priority or 0)


def _known(found: Mapping[Any, Any], known: tuple[str, ...], what: str, problems: list[str]) -> dict[str, Any]:
    """`found` with hyphens in keys made underscores; unknown keys become problems."""
    result: dict[str, Any] = {}
    for key, value in found.items():
        plain = key.replace("-", "_") if isinstance(key, str) else key
        if plain in known:
            result[plain] = value
        else:
            problems.append(f"unknown {what} {key!r}{nearest(str(key), known)}")
    return result


def _id(found: Mapping[str, Any], generated: str | None, problems: list[str]) -> str:
    name = found.get("task_id", generated)
    if "task_id" not in found and generated is None:
        problems.append('task_id is missing; give every task one of its own, such as "task_id": "task-1"')
    elif isinstance(name, str):
        if wrong := wrong_id(name):
            problems.append(wrong)
        return name
    elif isinstance(name, int | float) and not isinstance(name, bool):
        problems.append(f'task_id must be a string, not {article(name)}; write "{name}"')
    else:
        problems.append(f"task_id must be a string, not {article(name)}")
    return ""


def wrong_id(name: str) -> str:
    """What is wrong with a task id, or "". Control characters would break lines, variables and terminals."""
    if not name:
        return "task_id is empty; give every task one of its own"
    if len(name) > LONGEST_ID:
        return f"task_id is {len(name):,} characters long; at most {LONGEST_ID} are allowed"
    if not name.isprintable() and (bad := _BAD_ID.search(name)):
        return f"task_id {name!r} holds the control character {bad[0]!r}; leave it out"
    return ""


def _body(found: Mapping[str, Any], encode: Callable[[Any], bytes], problems: list[str]) -> bytes:
    if "data" not in found:
        if "command" not in found:
            problems.append('data is missing; write "data": {} for a task without any')
        return NULL
    data = found["data"]
    if isinstance(data, msgspec.Raw):
        if bytes(data)[:1] == b"{":
            return encode(data)
        data = msgspec.json.decode(data)
    if not isinstance(data, Mapping):
        problems.append(f'data must be a mapping, not {article(data)}; write for example "data": {{"x": 1}}')
        return NULL
    try:
        return encode(data)
    except (ValueError, TypeError, RecursionError) as error:
        problems.append(str(error) if not isinstance(error, RecursionError) else "data is nested too deeply")
        return NULL


def options(found: Mapping[str, Any], problems: list[str]) -> bytes | None:
    """What a task sets for itself, as UTF-8 JSON in seconds and bytes; None when it sets nothing.

    Keys: timeout, retries, cpus, memory, gpus, gpu_type, disk, env, command. A value of null counts as absent.
    """
    own: dict[str, Any] = {}
    if (timeout := found.get("timeout")) is not None:
        own["timeout"] = seconds("timeout", timeout, problems)
    if (retries := _whole("retries", found.get("retries"), problems, least=0)) is not None:
        own["retries"] = retries
    if (resources := found.get("resources")) is not None:
        own.update(_resources(resources, problems))
    if (env := found.get("env")) is not None:
        own["env"] = _env(env, problems)
    if (command := found.get("command")) is not None:
        own["command"] = _command(command, problems)
    return _encode(own) if own else None


def seconds(name: str, value: object, problems: list[str]) -> float:
    """Seconds, more than 0; a problem otherwise."""
    try:
        length = units.duration(value) if isinstance(value, str | int | float) else None
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return 0.0
    if length is None:
        problems.append(f"{name} must be a duration such as 30s or 1h30m, not {article(value)}")
        return 0.0
    if not length:
        problems.append(f"{name} must be longer than 0; leave it out for no limit")
    return length.total_seconds()


def _whole(name: str, value: object, problems: list[str], least: int | None = None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        problems.append(f"{name} must be a whole number, not {article(value)}")
    elif least is not None and value < least:
        problems.append(f"{name} must be {least} or more, not {value}")
    else:
        return value
    return None


def _resources(found: object, problems: list[str]) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        problems.append(f"resources must be a mapping of {', '.join(RESOURCES)}, not {article(found)}")
        return {}
    own: dict[str, Any] = {}
    for key, value in _known(found, RESOURCES, "resource", problems).items():
        if value is None:
            continue
        try:
            whole = Resources(**{key: value})
        except (ValueError, TypeError):
            problems.append(_wrong_resource(key, value))
            continue
        own[key] = getattr(whole, key)
        if key == "gpus" and whole.gpu_type:
            own["gpu_type"] = whole.gpu_type
    return own


def _wrong_resource(key: str, value: object) -> str:
    if key in ("memory", "disk"):
        return f"{key}: {value!r} is not a size; write for example 512MiB, 16GiB or 2G"
    if key == "cpus":
        return f"cpus must be a number greater than 0, not {article(value)}"
    return f"{key} must be a count such as 1, or a type and a count such as a100:1, not {article(value)}"


def _env(found: object, problems: list[str]) -> dict[str, str]:
    if not isinstance(found, Mapping):
        problems.append(f"env must be a mapping of names to strings, not {article(found)}")
        return {}
    for name, value in found.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            problems.append(f"env: {name!r} is not a name of a variable")
        if not isinstance(value, str):
            problems.append(f"env: {name} must be a string, not {article(value)}{_quoted(value)}")
        elif "\0" in value:
            problems.append(f"env: {name} holds a NUL, which a variable cannot")
    return dict(found)


def _quoted(value: object) -> str:
    plain = isinstance(value, int | float)
    return f'; write "{str(value).lower() if isinstance(value, bool) else value}"' if plain else ""


def _command(found: object, problems: list[str]) -> list[str]:
    if isinstance(found, str):
        problems.append(
            f"command must be a list of strings, not {article(found)}; "
            f'write {msgspec.json.encode(found.split()).decode()}, or ["sh", "-c", ...] for a shell'
        )
        return []
    if not isinstance(found, list | tuple) or not all(isinstance(word, str) for word in found) or not found:
        problems.append(f"command must be a list of one or more strings, not {article(found)}")
        return []
    if any("\0" in word for word in found):
        problems.append("command holds a NUL, which an argument cannot")
    return list(found)
