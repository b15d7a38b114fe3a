"""What sacct and sacctmgr print, read: on real answers, kept in `answers/`, and on lines that were rare."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.backends.base import Condition
from elsewhere.backends.slurm import books
from elsewhere.backends.slurm.settings import SlurmSettings

ANSWERS = Path(__file__).with_name("answers")
STOPPED, PREEMPTED, FAILED = Condition.STOPPED, Condition.PREEMPTED, Condition.FAILED


def test_real_answers_of_sacct_are_read() -> None:
    seen = {one.native: one for one in books.remembered((ANSWERS / "sacct-22.05.txt").read_text())}
    assert {native: (one.condition, one.reason) for native, one in seen.items()} == {
        "1_0": (STOPPED, ""),
        "1_1": (FAILED, "its script ended badly (exit status 1)"),
        "1_2": (FAILED, "its script ended badly (exit status 2)"),
        "2": (FAILED, "its script ended badly (signal 9)"),
        "3": (FAILED, "it used more memory than it had"),
        **{f"4_{k}": (STOPPED, "cancelled by the user of number 0") for k in range(4)},
        "5": (PREEMPTED, "Slurm took it back for a job of higher priority"),
        "6": (STOPPED, ""),
        "9": (STOPPED, ""),
        "10": (STOPPED, "cancelled by the user of number 0"),
        "11": (PREEMPTED, "its node failed"),
    }, "12 runs, so of that nothing is said"
    assert [native for native, one in seen.items() if one.starved] == ["3"]
    assert [native for native, one in seen.items() if one.started is None] == ["4_0", "4_1", "4_2", "4_3"]
    assert all(one.ended for one in seen.values())
    assert seen["6"].labels == {"launch": "job-1-1-6", "job": ["job-1", "1", "6"][0]}, "by its name: no comment"


@pytest.mark.parametrize(
    ("line", "condition", "reason"),
    [
        ("7|CANCELLED by 1001|0:15|1700000000|1700000060|n1", STOPPED, "cancelled by the user of number 1001"),
        ("7|CANCELLED|0:0|1700000000|1700000060|n1", STOPPED, "cancelled"),
        ("7|TIMEOUT|0:0|1700000000|1700000060|n1", PREEMPTED, "its walltime was over"),
        ("7|DEADLINE|0:0|Unknown|1700000060|None assigned", PREEMPTED, ""),
        ("7|BOOT_FAIL|1:0|1700000000|1700000060|n1", FAILED, "its node did not start"),
        ("7|FAILED|0:0|1700000000|1700000060|n1", FAILED, "its script ended badly"),
        ("7|FAILED|0:125|1700000000|1700000060|n1", FAILED, "its script ended badly"),
        ("7_12|OUT_OF_MEMORY|0:125|1700000000|1700000060|n1", FAILED, "it used more memory than it had"),
    ],
)
def test_how_a_job_ended_is_said(line: str, condition: Condition, reason: str) -> None:
    [seen] = books.remembered(f"{line}|elsewhere.job-1-2-3|elsewhere?job=job-1&launch=job-1-2-3")
    assert (seen.condition, seen.reason) == (condition, reason)


def test_what_has_not_ended_what_is_not_ours_and_half_lines_say_nothing() -> None:
    """The books are late: what they take for running may have ended, and steps are not asked for."""
    rows = ["7|RUNNING|0:0|1700000000|Unknown|n1|elsewhere.j-1-2|", "8|PENDING|0:0|Unknown|Unknown||elsewhere.j-1-2|",
            "9|COMPLETED|0:0|1700000000|1700000060|n1|mine|", "10|COMPLETED|0:0|", "",
            "7|A_NEW_STATE|0:0|1700000000|1700000060|n1|elsewhere.j-1-2|"]  # fmt: skip
    assert books.remembered("\n".join(rows)) == []


def test_real_answers_of_sacctmgr_are_read() -> None:
    mine = books.accounts((ANSWERS / "sacctmgr-22.05.txt").read_text())
    assert [(one.name, one.qos, one.default) for one in mine] == [
        ("gcims", ("fast", "normal"), True), ("narrow", ("fast", "normal"), False), ("root", ("normal",), False),
    ]  # fmt: skip
    usual, narrow = SlurmSettings(), SlurmSettings(account="Narrow")
    assert books.in_use(mine, usual) is mine[0] and books.in_use(mine, narrow) is mine[1]
    assert books.in_use(mine, SlurmSettings(account="nothing")) is None
    assert (books.queue_limit(mine[0]), books.queue_limit(mine[1]), books.queue_limit(None)) == (0, 2, 0)
    told = [(one.what, one.detail) for one in books.findings(mine, narrow)]
    assert told[:2] == [("account gcims", "QOS fast, normal"),
                        ("account narrow (used)", "QOS fast, normal; MaxJobs 1; MaxSubmit 2")]  # fmt: skip


def test_that_nothing_is_kept_is_known_by_what_they_say() -> None:
    assert books.is_off("Slurm accounting storage is disabled")
    assert books.is_off(" You are not running a supported accounting_storage plugin\nOnly 'slurmdbd' is supported")
    assert not books.is_off("sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection")
