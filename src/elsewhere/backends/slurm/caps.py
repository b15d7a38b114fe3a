"""What an account and a QOS let one job have. Slurm takes a job that asks for more, and lets it wait for ever. Pure.

https://slurm.schedmd.com/resource_limits.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from elsewhere.backends.slurm import text
from elsewhere.backends.slurm.books import Account
from elsewhere.backends.slurm.settings import SlurmSettings
from elsewhere.errors import UsageError
from elsewhere.model.resources import Resources
from elsewhere.model.units import show_duration, show_size

QOS = ("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxWall,MaxTRES")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)")
_STEPS = " KMGTP"


@dataclass(frozen=True, slots=True)
class Cap:
    """What one job may have. `whose`: for people."""

    whose: str
    wall: timedelta | None = None
    most: Mapping[str, float] = field(default_factory=dict)
    """cpu, mem in bytes, gres/gpu; others are not of ours."""


def caps(out: str, account: Account | None, settings: SlurmSettings) -> list[Cap]:
    """Those that a job with these settings is under; what a QOS says, its account need not. `out`: what sacctmgr has
    printed of QOS."""
    found = []
    wanted = settings.qos or (account.usual_qos if account else "")
    for line in out.splitlines():
        name, wall, most, *_ = [*line.split("|"), "", ""]
        if wanted and name.lower() == wanted.lower():
            found.append(Cap(f"the QOS {name}", text.limit_of(wall) if wall else None, _amounts(most)))
    if account is not None:
        said = {name for cap in found for name in cap.most}
        wall = "" if any(cap.wall for cap in found) else account.limits.get("MaxWall", "")
        amounts = _amounts(account.limits.get("MaxTRES", ""))
        found.append(Cap(f"the account {account.name}", text.limit_of(wall) if wall else None,
                         {name: amount for name, amount in amounts.items() if name not in said}))  # fmt: skip
    return found


def check(found: Iterable[Cap], settings: SlurmSettings, shape: Resources) -> None:
    """UsageError: such a job would never begin."""
    asked = {"cpu": math.ceil(shape.cpus), "mem": shape.memory or 0, "gres/gpu": shape.gpus}
    for cap in found:
        if cap.wall is not None and settings.length > cap.wall:
            raise UsageError(
                f"a walltime of {show_duration(settings.length)} is more than {cap.whose} allows: "
                f"{show_duration(cap.wall)}",
                hint=f"Set `walltime: {show_duration(cap.wall)}` or less, or another `qos:` or `account:`.",
            )
        for name, most in cap.most.items():
            if asked.get(name, 0) > most:
                raise UsageError(f"a job of {_told(name, asked[name])} is more than {cap.whose} allows: "
                                 f"{_told(name, most)}",
                                 hint="Ask for less, or for another `qos:` or `account:`.")  # fmt: skip


def _told(name: str, amount: float) -> str:
    if name == "mem":
        return f"{show_size(int(amount))} of memory"
    what = {"cpu": "CPU", "gres/gpu": "GPU"}[name]
    return f"{amount:g} {what}{'' if amount == 1 else 's'}"


def _amounts(written: str) -> dict[str, float]:
    """`cpu=2,gres/gpu=1,mem=4G`; memory is in MiB where it has no letter."""
    found = {}
    for one in written.split(","):
        name, _, amount = one.partition("=")
        if name in ("cpu", "mem", "gres/gpu") and (parts := _AMOUNT.fullmatch(amount)):
            step = _STEPS.index(parts[2] or ("M" if name == "mem" else " "))
            found[name] = float(parts[1]) * (1024**step if name == "mem" else 1000**step)
    return found
