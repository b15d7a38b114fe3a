"""What Slurm's accounting tells: how a job ended that squeue has forgotten, and what a user's accounts allow. Pure.

Columns, and not `--json`: that of squeue and sacct differs between versions in names and kinds (numbers became objects,
a state a list), is missing where Slurm was built without its serializer, and prints all of each job, where the columns
are the same in all versions, and are only what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from elsewhere.backends.base import Condition, Finding, Sighting
from elsewhere.backends.slurm import text
from elsewhere.backends.slurm.settings import SlurmSettings

SACCT = ("sacct", "--noheader", "--parsable2", "--allocations",
         "--format=JobID,State,ExitCode,Start,End,NodeList,JobName,Comment")  # fmt: skip
"""Which jobs: one more word, `--jobs=`. The comment comes last, for it may hold anything; many clusters keep none."""
LIMITS = ("MaxJobs", "MaxSubmit", "MaxTRES", "MaxWall", "GrpJobs", "GrpSubmit", "GrpTRES")
"""Of an association: https://slurm.schedmd.com/resource_limits.html. What accounts above it set is listed, too."""
_COLUMNS = ("DefaultAccount", "Account", "QOS", "DefaultQOS", *LIMITS)
ACCOUNTS = ("sh", "-c", 'exec sacctmgr --noheader --parsable2 show user name="$(id -un)" withassoc format='
            + ",".join(_COLUMNS))  # fmt: skip
OFF = ("accounting storage is disabled", "not running a supported accounting_storage plugin")
"""What the commands say, lower case, where nothing is kept: it is no use to ask again."""


def remembered(out: str) -> list[Sighting]:
    """Jobs of ours that have ended, among what sacct has printed.

    That it takes others for waiting or running says nothing: it hears of changes late, and of some never.
    """
    found = []
    for line in out.splitlines():
        parts = line.split("|", 7)
        if len(parts) == 8 and parts[6].startswith(text.NAME):
            found += [_sighting(native, *parts[1:]) for native in text.elements(parts[0])]
    return [one for one in found if one.condition not in (Condition.PENDING, Condition.RUNNING)]


def _sighting(
    native: str, state: str, status: str, start: str, end: str, node: str, name: str, comment: str
) -> Sighting:
    """`CANCELLED by 1001` names who did it."""
    word, by, who = state.partition(" by ")
    there = "" if node.lower() in ("none assigned", "none", "unknown") else node
    seen = text.sighting(native, word, start, end, there, how(status), name, comment)
    return replace(seen, reason=f"cancelled by the user of number {who}") if by else seen


def how(status: str) -> str:
    """`3:0`, `0:9`: status and signal of a script, in words; empty: it says nothing."""
    code, _, number = status.partition(":")
    if number.isdigit() and int(number) and int(number) < 65:
        return f"signal {number}"
    return f"exit status {code}" if code.isdigit() and int(code) else ""


def is_off(said: str) -> bool:
    """Is nothing kept there, by what sacct or sacctmgr has said?"""
    return any(words in said.lower() for words in OFF)


@dataclass(frozen=True, slots=True)
class Account:
    """An association of the user: an account, the QOS that go with it, and its limits that are set, by their names."""

    name: str
    qos: tuple[str, ...] = ()
    default: bool = False
    """Of jobs that name none."""
    limits: Mapping[str, str] = field(default_factory=dict)


def accounts(out: str) -> list[Account]:
    """What sacctmgr has printed, one for each account."""
    found = {}
    for line in out.splitlines():
        usual, name, qos, _, *limits = [*line.split("|"), "", "", ""]
        if name:
            set_ = {key: value for key, value in zip(LIMITS, limits, strict=False) if value}
            found[name] = Account(name, tuple(qos.split(",")) if qos else (), usual == name, set_)
    return list(found.values())


def in_use(mine: Sequence[Account], settings: SlurmSettings) -> Account | None:
    """That of the settings, or the user's default; None: it is not among these. Slurm writes them in lower case."""
    wanted = settings.account.lower()
    return next((one for one in mine if (one.name.lower() == wanted if wanted else one.default)), None)


def queue_limit(account: Account | None) -> int:
    """How many jobs of the user may be there at once, those that wait too; 0: it is not said."""
    limits = account.limits if account is not None else {}
    known = [int(limits[name]) for name in ("MaxSubmit", "GrpSubmit") if limits.get(name, "").isdigit()]
    return min(known, default=0)


def findings(mine: Sequence[Account], settings: SlurmSettings) -> Iterable[Finding]:
    """A line for each account. That one may not be used is said by Slurm itself, of a job."""
    used = in_use(mine, settings)
    for one in mine:
        limits = [f"{name} {value}" for name, value in one.limits.items()]
        detail = "; ".join([f"QOS {', '.join(one.qos) or 'none'}", *limits])
        yield Finding(f"account {one.name}" + " (used)" * (one is used), True, detail)
