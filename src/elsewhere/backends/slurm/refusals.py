"""What Slurm said, as an error whose reader knows what to do next."""

from __future__ import annotations

from elsewhere.backends.slurm import text
from elsewhere.errors import AccessDenied, PlaceError, QuotaExceeded, Refused, Throttled, Unreachable

# (part of what it says, lower case; kind; hint). https://github.com/SchedMD/slurm, src/common/slurm_errno.c
_SAID: tuple[tuple[str, type[PlaceError], str], ...] = (
    ("unable to contact slurm controller", Unreachable, ""),
    ("socket timed out", Unreachable, ""),
    ("connection refused", Unreachable, ""),
    ("communication connection failure", Unreachable, ""),
    ("unexpected message received", Unreachable, ""),
    ("zero bytes were transmitted", Unreachable, ""),
    ("transport endpoint", Unreachable, ""),
    ("resource temporarily unavailable", Unreachable, ""),
    ("temporarily unable to accept job", Throttled, ""),
    ("slurm_rate_limit", Throttled, ""),
    ("job violates accounting/qos policy", QuotaExceeded, "`sacctmgr show assoc` and `show qos` tell what you may use"),
    ("maxsubmitjobs", QuotaExceeded, "wait until some of your jobs have ended, or set a lower `max-jobs:`"),
    ("invalid account", Refused, "`account:` must be one of those that `sacctmgr show assoc user=$USER` lists"),
    ("user's group not permitted", AccessDenied, "ask for access, or name another `partition:`"),
    ("access/permission denied", AccessDenied, "is your account known to this cluster?"),
    ("invalid partition", Refused, "`sinfo` lists the partitions"),
    ("invalid qos", Refused, "`sacctmgr show qos` lists them"),
    ("invalid feature", Refused, "`sinfo -o %f` lists what `constraint` may name"),
    ("requested time limit is invalid", Refused, "`sinfo -o '%P %l'` shows how long jobs may run: set `walltime:`"),
    ("requested node configuration is not available", Refused, "`sinfo -N -l` shows what nodes have"),
    ("memory specification", Refused, "ask for less memory, or for another `partition:`"),
    ("unrecognized option", Refused, "see `slurm:` of this place"),
    ("invalid generic resource", Refused, "`sinfo -o '%P %G'` shows which GPUs there are"),
)
_PROTOCOL = ("munge", "protocol authentication error")


def refusal(said: str, what: str) -> PlaceError:
    """The error for what a command has printed. `what` it was asked for."""
    words = text.last_words(said)
    low = said.lower()
    for part, kind, hint in _SAID:
        if part in low:
            return kind(f"Slurm: {words}", hint=hint)
    if any(part in low for part in _PROTOCOL):
        return Unreachable(f"Slurm: {words}", hint="munge must run here, with the key of the cluster")
    return Refused(f"Slurm would not {what}: {words or 'it did not say why'}")
