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

# A job's files are there as long as it runs, and so are those of a machine; its mark in the environment may outlive it.
_BUSY = """\
busy() { for job in "$base/environments/$1"/.jobs/*; do job=${job##*/}
  [ -d "$base/jobs/$job" ] || [ -d "$base/machines/$job" ] && return 0; done; return 1; }
"""
# `$1`: what of us lies there for controllers and clusters (ship/seat.py), or was made for them. It is wanted as long as
# it runs, may be about to, or is what a job there is asked by. Where the host does not tell what runs: always.
_WANTED = """\
runs=$(ps -A -o args= 2>/dev/null)
wanted() { case "$runs" in ''|*"controller/$1"*) return 0;; esac
  grep -qsF "controller/$1" "$base"/machines/*/boot || grep -qsxF "$1" "$base"/controller/work/*/.we; }
"""
LIST = (
    _BUSY
    + _WANTED
    + """\
row() {
  size=$(du -skc "$@" 2>/dev/null | sed -n '$s/[^0-9].*//p'); age=$(stat -c %Y "$1" 2>/dev/null || stat -f %m "$1")
  printf '%s %s %s %s %s\n' "$name" "${size:-0}" "${age:-0}" $in "$about"
}
cd "$base/environments" 2>/dev/null && for name in *; do
  [ -e "$name/.whole" ] && read -r about <"$name/.about" || continue
  busy "$name" && in=1 || in=0
  row "$name"
done
about='{"name": "elsewhere"}'; cd "$base/controller" 2>/dev/null || exit 0
for one in we-*.env; do
  [ -e "$one/.whole" ] && name=${one%.env} || continue
  wanted "$name" && in=1 || in=0
  row "$one" "$name"
done"""
)
DISCARD = (
    _BUSY
    + _WANTED
    + """\
for name do
  case "$name" in we-*) wanted "$name" || rm -rf -- "$base/controller/$name" "$base/controller/$name.env";;
  *) busy "$name" || rm -rf -- "$base/environments/$name" "$base/environments/$name.lock";; esac
done; exit 0"""
)
AGE = (
    _BUSY
    + _WANTED
    + """\
days=$1; shift
old() { [ -n "$(find "$1" -prune -mtime "+$days" 2>/dev/null)" ]; }
for job in "$base"/environments/*/.jobs/*; do
  [ -d "$base/jobs/${job##*/}" ] || [ -d "$base/machines/${job##*/}" ] || rm -f -- "$job"
done
for one in "$base"/cache/*/* "$base"/environments/*; do
  old "$one" && ! busy "${one##*/}" && rm -rf -- "$one"
done
for one in "$base"/controller/we-*.env "$base"/controller/home/environments/*; do
  name=${one#"$base/controller/"}; name=${name%.env}
  old "$one" && ! wanted "$name" && rm -rf -- "$one" "$base/controller/$name"
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
