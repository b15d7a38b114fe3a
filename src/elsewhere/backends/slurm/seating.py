"""A job of Slurm in which a controller sits, for login nodes that end long processes: how it is had, and asked.

It sees our files, so what it is asked and what it answers lies in the work-dir, where nobody but the user may write.
"""

from __future__ import annotations

import math
import os
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
from elsewhere.errors import AccessDenied, UsageError
from elsewhere.hosts import private_directory
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

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
        path = Path(self.base, "controllers")
        private_directory(path)
        for one in (path.parent, path):
            if (found := one.stat()).st_uid != os.getuid() or found.st_mode & 0o022:
                raise AccessDenied(f"no controller is started: others may write to {one}",
                                   hint=f"chmod go-w {one}, or name a `work-dir:` of your own")  # fmt: skip
        return Deposit(path.as_uri(), {"proof": "directory"})

    def ground(self) -> Ground:
        """With our own interpreter first of all, which nodes see as we do."""
        place, ours = shlex.quote(f"{self.base}/controllers"), Path(sys.executable).resolve().parent
        fetch = f'fetch() {{ cp {place}/"$1" "$2"; }}\n'
        fetch += f'send() {{ mkdir -p "$(dirname {place}/"$2")" && cp "$1" {place}/"$2"; }}'
        name = f': "${{ELSEWHERE_MACHINE:?}}"; PATH={shlex.quote(str(ours))}:$PATH'
        end = f'[ ! -e "$HERE/{OVER}" ] || {{ cd / && rm -rf -- "$HERE"; }}'
        return Ground(name, fetch, end, directory=f"{self.base}/controllers/nodes")

    def identify(self, proof: bytes, claim: bytes) -> NativeId:
        """Who it is, it says itself: its hello lies where only the user writes."""
        return proof.decode("ascii", "replace")


def hires(place: Slurm) -> tuple[Seating, timedelta]:
    """UsageError: its files are not ours."""
    if place.settings.login:
        raise UsageError("a controller in a job of Slurm is begun on the login node itself",
                         hint="`--controller` with this place's own name has it sit on that node.")  # fmt: skip
    limits = [row.longest for row in place.rows()]
    longest = min([LONGEST, *(limit for limit in limits if limit is not None)])
    own = replace(place.settings, walltime=f"{longest.total_seconds():.0f}s", slurm=dict(place.settings.slurm))
    return Seating(own, place.host), longest
