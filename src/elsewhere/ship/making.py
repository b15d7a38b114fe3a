"""SHIP images that are made here: built of a Dockerfile, or taken from Docker or Podman, as one file that can travel.

Nothing is fetched but what those two fetch by themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from elsewhere.errors import UsageError
from elsewhere.hosts import private_directory

DOCKERFILE, DAEMON = "Dockerfile", "docker-daemon"
_STAGE = re.compile(r"\s*FROM\s+(?:--\S+\s+)*\S+\s+AS\s+(\S+)", re.IGNORECASE)
_LINES = 12
_MARKS = {
    ".gitignore": "*\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# Images that are made again by places add\n",
}
"""So that images neither travel with the code beside them nor get into its history."""
ENGINES = ("podman", "docker")


def is_made(source: str) -> bool:
    """Is it to be made here: `DIR/Dockerfile[:TARGET]`, or an image that Docker or Podman has, `docker-daemon:NAME`?"""
    return source.startswith(f"{DAEMON}:") or Path(source.partition(":")[0]).name.startswith(DOCKERFILE)


def targets(dockerfile: Path) -> list[str]:
    """The stages of a Dockerfile that have names; none, if there is no such file."""
    try:
        lines = dockerfile.read_text("utf-8").splitlines()
    except OSError:
        return []
    return [match[1] for line in lines if (match := _STAGE.match(line))]


def make(source: str, path: Path, tag: str) -> None:
    """The image as an archive at `path`. Already there: left as it is. UsageError: no such file, target or image; no
    program that could make it; its last lines, where that failed."""
    if path.exists():
        return
    program = _engine()
    if source.startswith(f"{DAEMON}:"):
        name = source.partition(":")[2]
    else:
        name = f"localhost/elsewhere-{tag}:latest"
        _build(program, source, name)
    private_directory(path.parent)
    for mark, text in _MARKS.items():
        if not (path.parent / mark).exists():
            (path.parent / mark).write_text(text)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    form = ["--format", "docker-archive"] if Path(program).name == "podman" else []
    try:
        _run([program, "save", *form, "--output", str(part), name], f"the image {name} cannot be had of {program}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _build(program: str, source: str, name: str) -> None:
    written, _, target = source.partition(":")
    file = Path(written).expanduser()
    if not file.is_file():
        raise UsageError(f"there is no {file} to build an image of", hint="Nothing was made.")
    known = targets(file)
    if target and target not in known:
        raise UsageError(f"{file} has no target {target!r}",
                         hint=f"It has: {', '.join(known) or 'none with a name'}.")  # fmt: skip
    words = [program, "build", "--file", str(file), "--tag", name, *(["--target", target] if target else [])]
    _run([*words, str(file.parent)], f"the image cannot be built of {source}")


def _engine() -> str:
    for name in ENGINES:
        if found := shutil.which(name):
            return found
    raise UsageError("images are built by Podman or Docker, and neither is installed here",
                     hint="Name an image that can be pulled there, or an archive: docker-archive:FILE.")  # fmt: skip


def _run(words: Sequence[str], failed: str) -> None:
    """What it says goes to our standard error."""
    last = deque[str](maxlen=_LINES)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:  # fmt: skip
        for line in process.stdout or ():
            last.append(line)
            sys.stderr.write(line)
    if process.returncode:
        raise UsageError(f"{failed}:\n{''.join(last).rstrip()}", hint="Run this again once that is mended.")
