"""A cluster is set up for somebody who has not used it yet: what its keys may say, and what must be made there once.

Texts go to Slurm's host and to one of its nodes; what they print is read here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from elsewhere.backends.base import Finding
from elsewhere.backends.newcomers import Suggestion
from elsewhere.backends.slurm import books, fitting, request, text
from elsewhere.backends.slurm.settings import SlurmSettings, options
from elsewhere.backends.slurm.text import Nodes
from elsewhere.hosts import Host, Ran
from elsewhere.model.resources import Resources
from elsewhere.model.units import show_duration

PROBE = 60
"""Seconds that are waited for a node to look at the directory."""
LIMIT = timedelta(seconds=PROBE + 60)
SEEN = "seen"
"""In the work-dir: a node has looked, and what it found."""
# What a login shell would set is asked of one; a directory of the user's own on a file system for scratch goes first.
_ROOM = """\
for place in "${SCRATCH:-}" "${WORK:-}" "/scratch/$(id -un)" "/work/$(id -un)"; do
  case $place in /*) [ -d "$place" ] && [ -w "$place" ] && echo "$place/elsewhere";; esac
done
echo "${HOME:-/root}/.elsewhere/slurm"
"""
ROOM = ("sh", "-lc", _ROOM)
# On a node: it must find what was written on Slurm's host, and leave a word that is found there.
_LOOK = """\
cd "$1" 2>/dev/null || { echo "blind $(hostname)"; exit 0; }
[ "$(cat "probe.$2" 2>/dev/null)" = "$2" ] && echo "$2" >"probe.$2.back" || { echo "blind $(hostname)"; exit 0; }
echo "node ${SLURMD_NODENAME:-$(hostname)} $(uname -m)"
for one in podman docker apptainer singularity ch-run; do command -v $one >/dev/null 2>&1 && echo "boxes $one"; done
exit 0
"""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """`run`: one of Slurm's commands, as the place runs them."""

    settings: SlurmSettings
    host: Host
    base: Callable[[], str]
    rows: Callable[[], Sequence[Nodes]]
    run: Callable[..., Ran]

    def suggest(self, key: str) -> Suggestion:
        return {"partition": self._partition, "account": self._account, "walltime": self._walltime,
                "work_dir": self._work_dir, "login": self._login}[key]()  # fmt: skip

    def _login(self) -> Suggestion:
        return Suggestion(means="this machine, where Slurm's commands are")

    def _partition(self) -> Suggestion:
        rows = self.rows()
        usual = next((row.partition for row in rows if row.default), "")
        lines = [f"{one.what}: {one.detail}" for one in fitting.partitions(rows)]
        return Suggestion(means=f"Slurm's default, {usual}" if usual else "Slurm's default", shown=lines,
                          known=list(dict.fromkeys(row.partition for row in rows)))  # fmt: skip

    def _account(self) -> Suggestion:
        done = self.run(books.ACCOUNTS)
        found = [one.name for one in books.accounts(done.out.decode("utf-8", "replace"))] if done.ok else []
        shown = [f"accounts of yours: {', '.join(found)}"] if found else []
        return Suggestion(means="Slurm's default", shown=shown, known=found)

    def _walltime(self) -> Suggestion:
        limits = [row.longest for row in fitting.of_partition(self.rows(), self.settings.partition)]
        most = max((one for one in limits if one is not None), default=None)
        if most is None or None in limits:
            return Suggestion("1h")
        return Suggestion(show_duration(min(most, timedelta(hours=1))), shown=[f"at most {show_duration(most)} there"])

    def _work_dir(self) -> Suggestion:
        done = self.run(ROOM)
        found = [line for line in done.out.decode("utf-8", "replace").splitlines() if line.startswith("/")]
        lines = [f"for example {', '.join(found)}"] if len(found) > 1 else []
        return Suggestion(found[0] if found else "", shown=lines)

    def made(self) -> Finding:
        """The directory, made if it is not there."""
        base = self.base()
        there = self.run(["test", "-d", base]).ok
        done = self.run(["sh", "-c", 'umask 077; mkdir -p -- "$1" && test -w "$1"', "sh", base])
        if not done.ok:
            said = text.last_words(done.err.decode("utf-8", "replace"))
            return Finding("work-dir", False, f"{base} cannot be made, or not be written to: {said}",
                           "name another with `work-dir:`, which all nodes see")  # fmt: skip
        return Finding("work-dir", True, base if there else f"{base} is made")

    def probed(self) -> Finding:
        """Whether a node sees it: a job of a second asks, unless one has. That no node is free is no fault."""
        base = self.base()
        if before := seen(self.run(["cat", f"{base}/{SEEN}"])):
            return before
        mark = os.urandom(6).hex()
        self.host.put(f"{base}/probe.{mark}", f"{mark}\n".encode())
        try:
            done = self.host.run(["srun", *probe(self.settings), "sh", "-c", _LOOK, "sh", base, mark], timeout=LIMIT)
            back = self.run(["cat", f"{base}/probe.{mark}.back"]).out.strip() == mark.encode()
        finally:
            self.run(["rm", "-f", "--", f"{base}/probe.{mark}", f"{base}/probe.{mark}.back"])
        said = done.err.decode("utf-8", "replace")
        if not done.ok and _is_busy(said):
            return Finding("nodes", True, f"none was free within {PROBE} s, so none was asked; the first job will show")
        if not done.ok:
            return Finding("nodes", False, f"a job that looks at the work-dir did not run: {text.last_words(said)}",
                           "`sinfo -R` says more; then run this again")  # fmt: skip
        if not back:
            node = done.out.decode("utf-8", "replace").strip().partition(" ")[2] or "a node"
            return Finding("nodes", False, f"{node} does not see {base}",
                           "name a directory that all nodes see: `work-dir:`")  # fmt: skip
        self.host.put(f"{base}/{SEEN}", done.out)
        return seen(done) or Finding("nodes", True)


def probe(settings: SlurmSettings) -> list[str]:
    """The options of srun for it: the least that there is, and at once."""
    return ["--quiet", "--job-name=elsewhere-probe", "--time=1", f"--immediate={PROBE}", "--chdir=/",
            *asked(settings, Resources())]  # fmt: skip


def asked(settings: SlurmSettings, shape: Resources) -> list[str]:
    """The options of srun for work of this size, of one task."""
    return ["--nodes=1", "--ntasks=1", *request.needs(shape), *request.whose(settings), *options(settings.slurm)]


def seen(done: Ran) -> Finding | None:
    """What a node has found, as it is kept."""
    words = [line.split() for line in done.out.decode("utf-8", "replace").splitlines()] if done.ok else []
    node = next((one for one in words if one[:1] == ["node"] and len(one) == 3), None)
    if node is None:
        return None
    boxes = [one[1] for one in words if one[:1] == ["boxes"] and len(one) == 2]
    told = f"containers by {', '.join(boxes)}" if boxes else "no container runtime"
    return Finding("nodes", True, f"{node[1]} sees the work-dir; {node[2]}, {told}")


def _is_busy(said: str) -> bool:
    low = said.lower()
    return any(word in low for word in ("nodes are busy", "unable to allocate resources: requested nodes",
                                        "immediate execution impossible", "timed out", "resources busy"))  # fmt: skip
