"""What Slurm's commands are asked for, and what their answers say. Pure; tried on answers of real ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from elsewhere.backends.base import Condition, Sighting
from elsewhere.model import units

NAME, COMMENT = "elsewhere.", "elsewhere?"
"""How the name and the comment of a job of ours begin."""
TELLING = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
"""Variables of its commands: instants as seconds since the epoch, whatever the time zone there; arrays in full."""
SQUEUE = ("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%S|%e|%N|%r|%j|%k")
"""The comment comes last, for it may hold anything. Whose jobs: one more word."""
CONFIG = ("scontrol", "show", "config")
SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%D|%T|%c|%m|%G|%f")

# A node that fails takes its jobs with it, or only out of Slurm's sight: nobody is blamed for that.
# https://slurm.schedmd.com/squeue.html, JOB STATE CODES. What is not named here is taken to be running: it is there.
_CONDITIONS = {
    "PENDING": Condition.PENDING, "CONFIGURING": Condition.PENDING, "REQUEUED": Condition.PENDING,
    "REQUEUE_FED": Condition.PENDING, "REQUEUE_HOLD": Condition.PENDING, "RESV_DEL_HOLD": Condition.PENDING,
    "SPECIAL_EXIT": Condition.PENDING,
    "COMPLETED": Condition.STOPPED, "CANCELLED": Condition.STOPPED,
    "TIMEOUT": Condition.PREEMPTED, "DEADLINE": Condition.PREEMPTED, "PREEMPTED": Condition.PREEMPTED,
    "NODE_FAIL": Condition.PREEMPTED, "FAILED": Condition.FAILED, "BOOT_FAIL": Condition.FAILED,
    "OUT_OF_MEMORY": Condition.FAILED, "REVOKED": Condition.FAILED,
}  # fmt: skip
_WHY = {
    "TIMEOUT": "its walltime was over",
    "PREEMPTED": "Slurm took it back for a job of higher priority",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it used more memory than it had",
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "cancelled",
}


def labelled(labels: Mapping[str, str]) -> str:
    """Labels as a comment: letters, digits and %, so that nothing along the way can mean anything else by it."""
    return COMMENT + urlencode(sorted(labels.items()))


def sightings(out: str) -> list[Sighting]:
    """Jobs of ours among what squeue has printed; all others are left out."""
    found = []
    for line in out.splitlines():
        parts = line.split("|", 7)
        if len(parts) == 8 and parts[6].startswith(NAME):
            found += [sighting(native, *parts[1:]) for native in elements(parts[0])]
    return found


def elements(written: str) -> list[str]:
    """`7_[0-2,5%4]`: of an array that was ended before it began, and has only one line."""
    job, bracket, rest = written.partition("_[")
    if not bracket:
        return [written]
    found = []
    for part in rest.rstrip("]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        found += [f"{job}_{k}" for k in range(int(first), int(last or first) + 1)] if first.isdigit() else []
    return found


def sighting(
    native: str, state: str, start: str, end: str, node: str, reason: str, name: str, comment: str
) -> Sighting:
    """One job, from the columns of squeue; instants as `TELLING` has them written."""
    condition = _CONDITIONS.get(state, Condition.RUNNING)
    began, ended = _instant(start), None
    if condition is Condition.PENDING:
        began = None  # it says when it is expected to
    elif condition is not Condition.RUNNING:
        ended = _instant(end)
        began = began if node else None
    why = _WHY.get(state, "")
    if condition is Condition.PENDING:
        why = _waits(reason)
    elif condition is Condition.FAILED and reason.replace(" ", "").lower() in ("joblaunchfailure", "launchfailed"):
        why = f"Slurm could not start it on {node}, or its script was killed: does that node see the work-dir?"
    elif condition is Condition.FAILED and not why:
        why = f"its script ended badly ({reason})" if reason not in ("", "None") else "its script ended badly"
    starved = state == "OUT_OF_MEMORY"
    return Sighting(native, condition, _labels(name, comment), began, ended, why, starved)


def _waits(reason: str) -> str:
    return "" if reason in ("", "None") else f"Slurm has it wait: {reason}"


def _labels(name: str, comment: str) -> Mapping[str, str]:
    """A comment that somebody has changed leaves the name, in which the launch stands, and the job in that."""
    if comment.startswith(COMMENT):
        return dict(parse_qsl(comment[len(COMMENT) :], keep_blank_values=True))
    launch = name[len(NAME) :]
    return {"launch": launch, "job": launch.rsplit("-", 2)[0]}


def _instant(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() else None


def array_limit(out: str) -> int:
    """How many elements an array may have, by `scontrol show config`; 0: it does not say."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", out, re.MULTILINE)
    return int(found[1]) if found else 0


def submitted(out: str) -> str:
    """The id that `sbatch --parsable` has printed: `123`, or `123;cluster`. ValueError: it has not."""
    last = out.strip().splitlines()[-1:] or [""]
    native = last[0].partition(";")[0].strip()
    if not native.isdigit():
        raise ValueError(f"sbatch said {out.strip()[:200]!r}")
    return native


def natives(job: str, count: int) -> list[str]:
    """What its machines are called: the job itself, or the elements of an array."""
    return [job] if count == 1 else [f"{job}_{k}" for k in range(count)]


@dataclass(frozen=True, slots=True)
class Nodes:
    """So many nodes that are alike, of one partition."""

    partition: str
    up: bool
    longest: timedelta | None
    """How long a job may run there; None: no limit."""
    count: int
    state: str
    cpus: int
    memory: int
    """Bytes."""
    gpus: tuple[tuple[str, int], ...] = ()
    """(type, how many); the type may be empty."""
    features: tuple[str, ...] = ()
    default: bool = False
    """Of the partition that jobs go to which name none."""

    @property
    def usable(self) -> bool:
        """Might a job start there some day, without anybody's help?"""
        return self.up and not self.state.lower().startswith(("down", "drain", "fail", "unknown", "inval"))


def nodes(out: str) -> list[Nodes]:
    """What sinfo has printed."""
    found = []
    for line in out.splitlines():
        parts = line.split("|")
        if len(parts) != 9 or not parts[3].isdigit():
            continue
        name, up, limit, count, state, cpus, memory, gres, features = parts
        found.append(Nodes(name.rstrip("*"), up == "up", limit_of(limit), int(count), state, _whole(cpus),
                           _whole(memory) << 20, _gpus(gres),
                           () if features == "(null)" else tuple(features.split(",")), name.endswith("*")))  # fmt: skip
    return found


def limit_of(text: str) -> timedelta | None:
    """`2:00`, `1-00:00:00`, `infinite`: minutes and seconds, days, hours, minutes and seconds, or none."""
    try:
        return units.duration(text)
    except ValueError:
        return None


def _whole(text: str) -> int:
    """`128`, or `128+` where they differ: at least that."""
    digits = text.rstrip("+")
    return int(digits) if digits.isdigit() else 0


def _gpus(gres: str) -> tuple[tuple[str, int], ...]:
    """`gpu:a100:2(S:0-1),shard:8`."""
    found = []
    for one in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = one.split(":")
        if kind == "gpu" and rest and rest[-1].isdigit():
            found.append((rest[0] if len(rest) > 1 else "", int(rest[-1])))
    return tuple(found)


def minutes(length: timedelta) -> int:
    """As `--time` takes it: Slurm counts whole minutes."""
    return max(1, -(-int(length.total_seconds()) // 60))


def last_words(text: str) -> str:
    """The last thing a command complained of, without its name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Try ")] or lines
    said = next((line for line in reversed(lines) if "error:" in line), lines[-1] if lines else "")
    for word in ("slurm_load_jobs ", "sbatch: ", "squeue: ", "sinfo: ", "scancel: ", "error: ", "fatal: ",
                 "Batch job submission failed: ", "allocation failure: "):  # fmt: skip
        said = said.removeprefix(word)
    return said


def nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    cased = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), cased, 1)
    listed = ", ".join(dict.fromkeys(known))
    meant = f"Did you mean {cased[near[0]]}? " if near else ""
    return meant + (f"There are: {listed}." if listed else "")
