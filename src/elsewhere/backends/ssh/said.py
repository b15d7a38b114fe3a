"""What hosts are called, what they say of themselves and of their machines, and what was heard last.

Pure but for the file that recalls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from elsewhere.backends.base import Condition, Finding, NativeId, Sighting
from elsewhere.config.home import home
from elsewhere.errors import ConfigError, PlaceError, Refused
from elsewhere.hosts import Ran, private_directory, write_whole
from elsewhere.model.resources import Resources

ROOM = 32 << 20
"""Bytes that must be free there: our own files, before anything of the user's."""
_UNMADE = 73
"""What our texts end with where their directory cannot be made."""
_RANGE = re.compile(r"\[([^\[\]]+)\]")

# What a task may need of a host. As few commands as can be: a first call waits for them.
HAS_FOR_TASKS = """\
echo "system $(uname -sm)"
echo "cpus $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
[ -r /proc/meminfo ] && while read -r name size unit; do
  [ "$name" = MemTotal: ] && echo "memory $size" && break; done </proc/meminfo
command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi --query-gpu=name --format=csv,noheader | sed 's/^/gpu /'
echo "room $(df -Pk "$base" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\\([0-9]*\\).*/\\1/p')"
try=$base/try.$$
printf '#!/bin/sh\\nexit 0\\n' >"$try" && echo "writes yes" && chmod 700 "$try" && "$try" && echo "runs yes"
rm -f "$try"
"""
FACTS = (
    HAS_FOR_TASKS
    + """\
for one in podman docker apptainer singularity ch-run; do command -v $one >/dev/null 2>&1 && echo "boxes $one"; done
exit 0"""
)


def spread(word: str) -> list[str]:
    """`node[3-5,9].cluster` -> its four names. ConfigError: the brackets hold no numbers."""
    found = _RANGE.search(word)
    if found is None:
        return [word]
    names = []
    for part in found[1].split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise ConfigError(f"{word!r}: {part!r} is no number and no range", hint="node[1-3,7] stands for four hosts")
        for number in range(int(first), int(last or first) + 1):
            names += spread(f"{word[: found.start()]}{number:0{len(first)}d}{word[found.end() :]}")
    return names


def mark(host: str) -> str:
    """What tells a host's machines from those of others, in their ids."""
    return sha256(host.encode()).hexdigest()[:10]


def usable(name: str, done: Ran) -> Ran:
    """What it has said, of HAS_FOR_TASKS. Refused: nothing of ours can be there."""
    text = done.out.decode("utf-8", "replace")
    room = re.search(r"^room (\d+)$", text, re.MULTILINE)
    if room and int(room[1]) < ROOM >> 10:
        why = f"no space left: {int(room[1]) >> 10} MiB are free below the home directory, our files need {ROOM >> 20}"
    elif done.status == _UNMADE or "writes yes" not in text:
        last = done.err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it was not said why"]
        why = f"nothing can be written there: {last[0]}"
    elif "runs yes" not in text:
        why = "what is written below the home directory there may not be run: it is mounted noexec"
    else:
        return done
    raise Refused(f"{name} cannot be used: {why}", hint="change that there, or name another `directory:` of the place, "
                  "which is below the home directory")  # fmt: skip


def facts(done: Ran) -> tuple[Resources, str]:
    """What the host has, and its kind of processor."""
    lines = [line.partition(" ") for line in done.out.decode("utf-8", "replace").splitlines()]
    said = {name: value.strip() for name, _, value in lines}
    gpus = [value.strip() for name, _, value in lines if name == "gpu"]
    machine = said.get("system", "").partition(" ")[2]
    memory = int(said["memory"]) * 1024 if said.get("memory", "").isdigit() else None
    kind = gpus[0] if gpus else ""
    cpus = float(said.get("cpus") or 1)
    has = Resources(cpus=cpus, memory=memory, gpus=len(gpus), gpu_type=kind)
    return has, {"aarch64": "arm64"}.get(machine, machine)


def fits(has: Resources, need: Resources) -> bool:
    return need.cpus <= has.cpus and (need.memory or 0) <= (has.memory or need.memory or 0) and need.gpus <= has.gpus


def findings(name: str, done: Ran) -> Iterable[Finding]:
    has, machine = facts(done)
    text = done.out.decode("utf-8", "replace")
    shown = f"{has.cpus:g} CPUs, {(has.memory or 0) >> 30} GiB" + (f", {has.gpus} GPUs" if has.gpus else "")
    boxes = "".join(f", {line.removeprefix('boxes ')}" for line in text.splitlines() if line.startswith("boxes "))
    try:
        usable(name, done)
    except Refused as error:
        yield Finding(name, False, error.message, error.hint)
    else:
        yield Finding(name, True, f"reached: {shown}, {machine}{boxes}")


def sightings(out: bytes, now: float) -> Iterable[Sighting]:
    """Times as of our clock, which says `now`, to the minute where that of the host is off."""
    clock, *lines = out.decode("utf-8", "replace").splitlines()
    ahead = timedelta(minutes=round((float(clock) - now) / 60))
    for line in lines:
        native, state, status, started, stopped, labels = line.split(" ", 5)
        condition, reason = _condition(state, status)
        yield Sighting(native, condition, json.loads(labels), _instant(started, ahead), _instant(stopped, ahead),
                       reason)  # fmt: skip


def _condition(state: str, status: str) -> tuple[Condition, str]:
    if state == "ended":
        good = status in ("0", "-", "143")
        return (Condition.STOPPED, "") if good else (Condition.FAILED, f"its boot text ended with status {status}")
    if state == "lost":
        return Condition.FAILED, "its processes are gone: the host was restarted, or somebody ended them"
    return (Condition.RUNNING if state == "running" else Condition.PENDING), ""


def _instant(text: str, ahead: timedelta) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) - ahead if text.isdigit() else None


def unseen(last: Sighting, why: PlaceError) -> Sighting:
    return last if last.ended else replace(last, reason=f"no contact: {why.message}")


def _record(key: str) -> Path:
    return home() / "ssh" / f"{key}.json"


def _plain(seen: Mapping[NativeId, Sighting]) -> dict[str, Any]:
    return {
        native: [one.condition.value, dict(one.labels), one.started and one.started.isoformat(),
                 one.ended and one.ended.isoformat(), one.reason]
        for native, one in seen.items()
    }  # fmt: skip


def _read(path: Path) -> dict[NativeId, Sighting]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    when = datetime.fromisoformat
    return {
        native: Sighting(native, Condition(state), labels, started and when(started), ended and when(ended), reason)
        for native, (state, labels, started, ended, reason) in found.items()
    }


def recalled(key: str) -> dict[NativeId, Sighting]:
    """What a host showed last, also to another process of ours."""
    return _read(_record(key))


def remember(key: str, before: Mapping[NativeId, Sighting], seen: Mapping[NativeId, Sighting]) -> None:
    if _plain(seen) != _plain(before):
        path = _record(key)
        private_directory(path.parent)
        write_whole(path, json.dumps(_plain(seen)).encode())
