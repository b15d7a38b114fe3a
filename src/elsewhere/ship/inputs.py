"""SHIP files: what tasks are given besides code, and under which names they find it. Bad words are answered before all.

Paths are seen from the working directory; URLs are fetched where the tasks run, or here, where that is here.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from elsewhere.errors import ElsewhereError, UsageError
from elsewhere.hosts import private_directory
from elsewhere.model.job import Input

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
SCHEMES = ("s3", "gs", "http", "https")
BUCKETS = ("s3:", "gs:")
_PIECE = 1 << 20


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def read(sources: Sequence[str], cwd: Path) -> tuple[Input, ...]:
    """What was written, with the names under which tasks find it. UsageError names all that is wrong."""
    found, faults = list[Input](), list[str]()
    for text in sources:
        path = unquote(urlsplit(text).path) if text.startswith("file:///") else text
        one = _of_url(text, faults) if is_url(path) else _of_path(path, cwd, faults)
        if one is not None:
            found.append(one)
    faults += _clashes(found)
    if faults:
        raise UsageError("; ".join(faults), hint="Nothing was started.")
    return tuple(found)


def globs(patterns: Sequence[str]) -> tuple[str, ...]:
    """Of outputs. UsageError: one leads out of a task's directory."""
    found = []
    for text in patterns:
        pattern = text.rstrip("/")
        if not pattern or pattern.startswith(("/", "~")) or ".." in pattern.split("/") or "\0" in pattern:
            raise UsageError(
                f"the output {text!r} leads out of the task's directory", hint="Write for example 'plots/*'."
            )
        found.append("/".join(part for part in pattern.split("/") if part not in ("", ".")))
    return tuple(found)


def _of_url(text: str, faults: list[str]) -> Input | None:
    parts = urlsplit(text)
    name = unquote(PurePosixPath(parts.path).name)
    if parts.scheme.lower() not in SCHEMES:
        faults.append(f"the input {text} is of no kind that can be fetched ({', '.join(SCHEMES)})")
    elif not parts.netloc or not name or name in (".", ".."):
        faults.append(f"the input {text} names no file")
    else:
        return Input(name, text)
    return None


def _of_path(text: str, cwd: Path, faults: list[str]) -> Input | None:
    path = Path(os.path.normpath(cwd / Path(text).expanduser()))
    if not path.exists():
        names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, 1)
        faults.append(f"there is no input {text}" + (f"; did you mean {near[0]}?" if near else ""))
        return None
    if path == cwd or cwd.is_relative_to(path):
        faults.append(f"the input {text} holds the working directory itself")
        return None
    name = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else path.name
    return Input(name, str(path))


def _clashes(found: Sequence[Input]) -> list[str]:
    faults, seen = [], dict[str, Input]()
    for one in found:
        other = seen.get(one.name)
        if other is not None and other.source != one.source:
            faults.append(f"the inputs {other.source} and {one.source} would both be called {one.name}")
        seen[one.name] = one
    for one in seen.values():
        for above in PurePosixPath(one.name).parents:
            if str(above) in seen:
                faults.append(f"the input {one.source} would lie within another, {seen[str(above)].source}")
    return faults


def fetched(inputs: Sequence[Input], cache: Path) -> tuple[Input, ...]:
    """The same with paths instead of URLs: each is fetched once, into `cache` by its digest, and may not be written to.

    UsageError: one cannot be had. Twice: fetched again, since what a URL means may have changed.
    """
    return tuple(Input(one.name, str(_fetch(one, cache))) if is_url(one.source) else one for one in inputs)


def _fetch(one: Input, cache: Path) -> Path:
    private_directory(cache)
    part = cache / f".{os.getpid()}.{os.urandom(4).hex()}"
    try:
        digest = _from_bucket(one.source, part) if one.source.startswith(BUCKETS) else _from_web(one.source, part)
        target = cache / digest / one.name
        private_directory(target.parent)
        part.chmod(0o400)
        part.replace(target)
        return target
    except (OSError, ElsewhereError) as error:
        why = error.message if isinstance(error, ElsewhereError) else getattr(error, "reason", None) or error
        hint = error.hint if isinstance(error, ElsewhereError) else ""
        raise UsageError(f"the input {one.source} cannot be fetched: {why}", hint=hint) from error
    finally:
        part.unlink(missing_ok=True)


def _from_web(url: str, to: Path) -> str:
    import urllib.request  # this room is loaded for every job

    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as answer, to.open("xb") as file:
        while piece := answer.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _from_bucket(url: str, to: Path) -> str:
    from elsewhere.stores.objects import fetch

    fetch(url, to)
    with to.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
