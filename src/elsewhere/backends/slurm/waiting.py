"""Why Slurm has a job wait, in its own word and in ours. Pure.

https://slurm.schedmd.com/job_reason_codes.html
"""

from __future__ import annotations

_MEANS = {
    "Resources": "all that it needs is in use",
    "Priority": "others come before it",
    "JobArrayTaskLimit": "no more of its array may run at a time",
    "BeginTime": "it begins a little later",
    "JobHeldUser": "you hold it: `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "PartitionDown": "its partition starts no jobs at present",
    "PartitionInactive": "its partition takes no jobs at present",
    "PartitionTimeLimit": "its walltime is more than the partition allows, so it never begins",
    "PartitionNodeLimit": "it asks for more than the partition allows, so it never begins",
    "ReqNodeNotAvail": "nodes that it needs are down or reserved: `sinfo -R`",
    "Nodes required for job are DOWN": "`sinfo -R` says why",
    "BadConstraints": "no node is as it asks for, so it never begins",
    "Licenses": "all licences that it needs are in use",
    "ReservationDeleted": "its reservation is gone",
    "Reservation": "it waits for a reservation to begin",
    "InvalidAccount": "its account may not be used any more, so it never begins",
    "InvalidQOS": "its QOS may not be used any more, so it never begins",
    "AccountNotAllowed": "its account may not use the partition, so it never begins",
    "QOSNotAllowed": "its QOS may not use the partition, so it never begins",
}


def why(reason: str) -> str:
    """For people; empty: it has said nothing."""
    if reason in ("", "None"):
        return ""
    means = next((words for start, words in _MEANS.items() if reason.startswith(start)), "") or _limit(reason)
    return f"Slurm has it wait: {reason}" + (f" ({means})" if means else "")


def _limit(reason: str) -> str:
    """`AssocGrpCpuLimit`, `QOSMaxJobsPerUserLimit`, `QOSMaxWallDurationPerJobLimit`: of an account, or of a QOS."""
    whose = "the QOS" if reason.startswith("QOS") else "the account" if reason.startswith("Assoc") else ""
    if not whose:
        return ""
    if "PerJob" in reason or "MinCpu" in reason or "PerNode" in reason:
        return f"{whose} allows no job so large or so long, so it never begins"
    if "Grp" in reason:
        return f"all jobs of {whose} together have what they may"
    return f"your jobs have as much as {whose} allows at a time"
