"""A job of Slurm in which a controller sits, for login nodes that end long processes: how it is had, and asked.

What it is asked and what it answers lies in the work-dir, where nobody but the user may write: in our own sight, or
in that of the login node.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from elsewhere.backends.base import Deposit, Ground, NativeId
from elsewhere.backends.seats import OVER
from elsewhere.backends.slurm.place import Slurm
from elsewhere.errors import AccessDenied
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

# What it is told is believed because nobody but the user may write where it lies, nor put another directory there.
_PRIVATE = """umask 077; mkdir -p -- "$2" || { echo "$2"; exit 73; }
for one in "$1" "$2"; do
  [ -O "$one" ] && [ -z "$(find "$one" -prune -perm /022)" ] || { echo "$one"; exit 66; }
done"""
LONGEST = timedelta(days=7)
"""Such a job lives as long as its partition allows, and no longer than this."""


class Seating(Slurm):
    """The same place, as it starts such a job: small, long, and one."""

    def offers(self, need: Resources) -> Sequence[Offer]:
        shape = Resources(cpus=math.ceil(need.cpus), memory=need.memory)
        self._check_base()
        self._try(shape)
        return [Offer("a job", shape, zone=self.settings.partition or self.rows()[0].partition, price=Decimal(0))]

    def deposit(self) -> Deposit:
        path = f"{self.base}/controllers"
        done = self._run(["sh", "-c", _PRIVATE, "sh", self.base, path])
        if not done.ok:
            where = done.out.decode("utf-8", "replace").strip() or path
            raise AccessDenied(f"no controller is started: others may write to {where}",
                               hint=f"chmod go-w {where}, or name a `work-dir:` of your own")  # fmt: skip
        return Deposit(Path(path).as_uri(), {"proof": "directory"})

    def ground(self) -> Ground:
        """Where nodes see our own interpreter, with that first of all."""
        place = shlex.quote(f"{self.base}/controllers")
        fetch = f'fetch() {{ cp {place}/"$1" "$2"; }}\n'
        fetch += f'send() {{ mkdir -p "$(dirname {place}/"$2")" && cp "$1" {place}/"$2"; }}'
        name, architecture = ': "${ELSEWHERE_MACHINE:?}"', ""
        if self.settings.login:
            architecture = self.architecture()
        else:
            name += f"; PATH={shlex.quote(str(Path(sys.executable).resolve().parent))}:$PATH"
        end = f'[ ! -e "$HERE/{OVER}" ] || {{ cd / && rm -rf -- "$HERE"; }}'
        return Ground(name, fetch, end, directory=f"{self.base}/controllers/nodes", architecture=architecture)

    def identify(self, proof: bytes, claim: bytes) -> NativeId:
        """Who it is, it says itself: its hello lies where only the user writes."""
        return proof.decode("ascii", "replace")


def hires(place: Slurm) -> tuple[Seating, timedelta]:
    """PlaceError: Slurm does not say how long jobs may live."""
    limits = [*(row.longest for row in place.rows()), *(cap.wall for cap in place.caps())]
    longest = min([LONGEST, *(limit for limit in limits if limit is not None)])
    own = replace(place.settings, walltime=f"{longest.total_seconds():.0f}s", slurm=dict(place.settings.slurm))
    return Seating(own, place.host), longest
