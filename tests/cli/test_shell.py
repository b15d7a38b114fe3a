"""A terminal on a machine: the user's own program, called with the right words, or what is missing is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cli.command import Shell
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Allocation, Offer
from elsewhere.model.reports import Claimed
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationMove, AllocationState
from elsewhere.model.task import NewTask

MACHINE = "i-0123456789abcdef0"


@pytest.fixture
def programs(shell: Shell, tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    shell.env["PATH"] = f"{folder}:{shell.env['PATH']}"
    shell.env["AWS_DEFAULT_REGION"] = "us-west-2"
    return folder


def program(folder: Path, name: str) -> None:
    (folder / name).write_text('#!/bin/sh\necho "$0" "$@"\nexit 7\n')
    (folder / name).chmod(0o700)


def job(shell: Shell) -> None:
    """A job of two tasks, of which the first is on a machine."""
    directory = shell.home / "jobs" / "job-01"
    directory.mkdir(parents=True, mode=0o700)
    (shell.home / "names").mkdir()
    (shell.home / "names" / "fit").symlink_to(directory)
    shell.home.chmod(0o700)
    ledger = Ledger.create(directory / "ledger.db", JobSpec("job-01", "fit", Entry("command"), place="aws"))
    with ledger.moving():
        ledger.add([NewTask("a", b"null"), NewTask("b", b"null")])
        ledger.complete()
        ledger.take_over()
        holdings = Holdings(ledger)
        offer = Offer("c5.large", Resources(2), "eu-west-1b", Decimal("0.1"))
        made = Allocation("alc-1", "lch-1", AllocationState.PLANNED, MACHINE, offer, term=timedelta(hours=1))
        holdings.write(made)
        moves = (AllocationState.PENDING, AllocationMove.ACCEPT), (AllocationState.RUNNING, AllocationMove.START)
        for state, move in moves:
            made = replace(made, state=state)
            holdings.write(made, move)
        ledger.take(1)
        holdings.claimed(Claimed(MACHINE, ((1, 1),)))
    ledger.close()


def test_the_machine_of_a_task_is_opened_by_the_users_own_program(shell: Shell, programs: Path) -> None:
    for name in ("aws", "session-manager-plugin"):
        program(programs, name)
    job(shell)
    ran = shell("shell", "fit/a")
    assert ran.status == 7, ran.err
    assert ran.out == f"{programs}/aws ssm start-session --target {MACHINE} --region eu-west-1\n"
    assert shell("shell", "fit").out == ran.out, "it is the only one"
    assert shell("shell", "fit", "i-0123").out == ran.out
    assert shell("shell", "aws", "i-0aaaaaaaaaaaaaaaa").out.split()[4:] == [
        "i-0aaaaaaaaaaaaaaaa",
        "--region",
        "us-west-2",
    ]


def test_a_task_that_has_no_machine_is_said_with_those_that_run(shell: Shell, programs: Path) -> None:
    job(shell)
    ran = shell("shell", "fit/b")
    assert (ran.status, "task 'b' has no machine that still runs" in ran.err, MACHINE in ran.err) == (2, True, True)


@pytest.mark.parametrize(("there", "missing"), [((), "aws"), (("aws",), "session-manager-plugin")])
def test_what_is_missing_is_said_with_where_to_get_it(
    shell: Shell, programs: Path, there: tuple[str, ...], missing: str
) -> None:
    shell.env["PATH"] = str(programs)
    for name in there:
        program(programs, name)
    ran = shell("shell", "aws", MACHINE)
    assert ran.status == 2
    assert f"needs the program {missing}, which is not installed" in ran.err and "https://docs.aws" in ran.err


def test_a_place_that_opens_none_says_so(shell: Shell) -> None:
    ran = shell("shell", "local", "x")
    assert (ran.status, "opens no terminal" in ran.err) == (2, True), ran.err
