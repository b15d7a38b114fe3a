"""Environments that are kept: what is there, and its end. On hosts by shell text alone, here without one.

The layout is ship/kept.py's. Each text begins where `$base` is ours on that host.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from elsewhere.backends.base import Kept

# A job's files are there as long as it runs; its mark in the environment may outlive it.
_BUSY = """\
busy() { for job in "$base/environments/$1"/.jobs/*; do [ -d "$base/jobs/${job##*/}" ] && return 0; done; return 1; }
"""
LIST = (
    _BUSY
    + """\
cd "$base/environments" 2>/dev/null || exit 0
for name in *; do
  [ -e "$name/.whole" ] && read -r about <"$name/.about" || continue
  size=$(du -sk "$name" 2>/dev/null | sed 's/[^0-9].*//'); age=$(stat -c %Y "$name" 2>/dev/null || stat -f %m "$name")
  busy "$name" && in=1 || in=0
  printf '%s %s %s %s %s\n' "$name" "${size:-0}" "${age:-0}" $in "$about"
done"""
)
DISCARD = (
    _BUSY
    + """\
for name do busy "$name" || rm -rf -- "$base/environments/$name" "$base/environments/$name.lock"; done; exit 0"""
)
AGE = (
    _BUSY
    + """\
days=$1; shift
for job in "$base"/environments/*/.jobs/*; do [ -d "$base/jobs/${job##*/}" ] || rm -f -- "$job"; done
for one in "$base"/cache/*/* "$base"/environments/*; do
  [ -n "$(find "$one" -prune -mtime "+$days" 2>/dev/null)" ] && ! busy "${one##*/}" && rm -rf -- "$one"
done
"""
)
"""What nothing has used for `$1` days is removed, and so are marks of jobs that are gone. Other words are left."""


def read(machine: str, out: bytes) -> Iterable[Kept]:
    """What LIST has printed."""
    for line in out.decode("utf-8", "replace").splitlines():
        mark, size, used, busy, about = line.split(" ", 4)
        when = datetime.fromtimestamp(int(used), UTC)
        yield Kept(machine, mark, json.loads(about), int(size) * 1024, when, busy == "1")


def here(base: Path) -> Iterable[Kept]:
    """Those below this directory of ours."""
    for whole in sorted(base.glob("*/.whole")):
        folder = whole.parent
        try:
            about = json.loads((folder / ".about").read_bytes())
            when = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        except (OSError, ValueError):
            about, when = {}, datetime.fromtimestamp(0, UTC)
        yield Kept("here", folder.name, about, _size(folder), when, path=str(folder))


def remove(kept: Collection[Kept]) -> None:
    for one in kept:
        folder = Path(one.path)
        (folder / ".whole").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """On disk; what several names stand for is counted once."""
    seen: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            about = (Path(place) / name).lstat()
            seen[about.st_ino] = about.st_blocks * 512
    return sum(seen.values())
