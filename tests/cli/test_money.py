"""What commands say of machines and money, of a job whose machines are written into its ledger by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cli.command import Shell
from elsewhere import session
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Allocation, Limits, Offer, Shape
from elsewhere.model.reports import Ended, Form
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationMove, AllocationState, Outcome
from elsewhere.model.task import NewTask
from elsewhere.session import JobFiles

SPOT = Offer("c7g.large", Resources(), "east-a", Decimal("0.60"), True, Decimal("1.50"))
T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def job(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> JobFiles:
    """Two commands, of which one ran for half an hour; one machine that ended, one that was taken back; budget $1."""
    shell.home.mkdir(mode=0o700)
    monkeypatch.setenv("ELSEWHERE_HOME", str(shell.home))
    spec = JobSpec(ids.new("job"), "paid", Entry("command", command=("true",)), cwd=str(shell.directory),
                   machines=(Shape(SPOT, 2),), limits=Limits(budget=Decimal(1)))  # fmt: skip
    files = session.create(spec, [NewTask("t1", b"null"), NewTask("t2", b"null")])
    write(files, ("i-1", {}), ("i-2", {"reclaimed": True, "reason": "spot reclaimed"}))
    return files


def write(files: JobFiles, *machines: tuple[str, dict[str, object]], end: bool = True) -> None:
    ledger = Ledger.open(files.ledger)
    holdings = Holdings(ledger)
    for native, more in machines:
        planned = Allocation(f"{files.id}-1-1-{native}", "L1", AllocationState.PLANNED, offer=SPOT, slots=2, term=HOUR)
        pending = replace(planned, state=AllocationState.PENDING, native=native)
        running = replace(pending, state=AllocationState.RUNNING, started=T0, spoke=T0)
        with ledger.moving():
            holdings.write(planned)
            holdings.write(pending, AllocationMove.ACCEPT)
            holdings.write(running, AllocationMove.START)
            if end:
                over = replace(running, state=AllocationState.STOPPED, used=HOUR / 2, **more)  # type: ignore[arg-type]
                holdings.write(over, AllocationMove.END)
    with ledger.moving():
        taken = ledger.take(1)
        ledger.record([Ended(d.n, d.attempt, Outcome.SUCCEEDED, 0.0, 1800.0, Form.JSON, b"0") for d in taken])
    ledger.close()


def note(files: JobFiles, kind: str, **detail: Any) -> None:
    ledger = Ledger.open(files.ledger)
    with ledger.moving():
        ledger.note(kind, **detail)
    ledger.close()


def budget(files: JobFiles) -> Decimal | None:
    ledger = files.open()
    try:
        return ledger.spec.limits.budget
    finally:
        ledger.close()


def test_machines_lists_each_with_its_price_its_cost_and_why_it_ended(shell: Shell, job: JobFiles) -> None:
    ran = shell("machines", "paid")
    assert ran.status == 0, ran.err
    head, first, second = ran.out.splitlines()
    assert head.split() == ["MACHINE", "TYPE", "ZONE", "KIND", "IS", "SINCE", "$/H", "COST", "WHY"]
    assert first.split()[:5] == ["i-1", "c7g.large", "east-a", "spot", "stopped"]
    assert "0.6000" in first and "$0.30" in first
    assert second.split()[4] == "reclaimed" and second.endswith("spot reclaimed")

    facts = shell("machines", "--json").json()
    assert [(one["native"], one["state"], one["spot"], one["price"], one["cost"], one["reason"]) for one in facts] == [
        ("i-1", "stopped", True, 0.6, 0.3, ""), ("i-2", "stopped", True, 0.6, 0.3, "spot reclaimed"),
    ]  # fmt: skip
    assert all(datetime.fromisoformat(one["since"]) > T0 for one in facts)


def test_a_job_without_machines_says_so(shell: Shell) -> None:
    shell("run", "--name", "free", "--", "true")
    assert "free has asked for no machine" in shell("machines", "free").out
    assert shell("machines", "--json").json() == []


def test_the_last_lines_are_a_receipt_and_say_that_nothing_is_left(shell: Shell, job: JobFiles) -> None:
    note(job, "settled", machines=0)
    ran = shell("resume", "paid", "--results", "out.jsonl")
    assert ran.status == 0, ran.err
    assert "  spent $0.60 for 2 machines; saved $0.90 against on-demand (60%)\n" in ran.err
    assert "  lost $0." in ran.err and "tasks per dollar" in ran.err
    assert "  nothing left running\n" in ran.err

    again = shell("watch", "paid", "--json").lines()[-1]
    assert again["money"]["spent"] == 0.6 and again["money"]["saved"] == 0.9 and again["left_running"] == 0


def test_where_machines_were_not_seen_gone_the_command_that_looks_is_named(shell: Shell, job: JobFiles) -> None:
    write(job, ("i-3", {}), end=False)
    assert "  1 machine may still run: elsewhere reap --on local\n" in shell("watch", "paid").err
    note(job, "left running", machines=3)
    said = shell("watch", "paid").err
    assert "  3 machines may still run: elsewhere reap --on local\n" in said and "nothing left running" not in said


def test_a_free_job_has_no_receipt(shell: Shell) -> None:
    shell.tasks(1)
    ran = shell("run", "--json", "--each-line", "tasks.jsonl", "--", "echo", "{}")
    summary = ran.lines()[-1]
    assert (summary["event"], summary["money"], summary["left_running"]) == ("summary", None, 0)
    said = shell("watch").err
    assert "1 of 1 done" in said and "spent" not in said and "left running" not in said


def test_a_job_whose_budget_is_spent_says_how_to_go_on_and_goes_on(shell: Shell, job: JobFiles) -> None:
    note(job, "gave up", why="the budget of $1 is spent")
    said = shell("watch", "paid").err
    assert "Its budget of $1.00 is spent; what is left stays in its queue.\n" in said
    assert "  elsewhere resume paid --budget 2 " in said

    ran = shell("resume", "paid", "--budget", "2")
    assert ran.status == 0, ran.err
    assert "2 of 2 done" in ran.err and "Its budget" not in ran.err
    assert budget(job) == Decimal(2)


def test_a_job_that_stopped_for_want_of_machines_says_why_in_the_words_of_the_last(shell: Shell, job: JobFiles) -> None:
    why = "none of the last 2 machines could boot; the last one said: startup script: it failed\n| cd: x\x1b[31m: no"
    note(job, "gave up", why=why)
    said = shell("watch", "paid").err
    assert "It stopped: none of the last 2 machines could boot; the last one said: startup script: it failed\n" in said
    assert "  | cd: x: no\n" in said
    told = shell("explain", "paid").out.splitlines()
    [at] = [k for k, line in enumerate(told) if "It stopped, for there was no machine and would be none" in line]
    assert told[at + 1] == "  | cd: x: no"


def test_a_budget_that_is_spent_already_is_refused_and_changes_nothing(shell: Shell, job: JobFiles) -> None:
    ran = shell("resume", "paid", "--budget", "0.5")
    assert ran.status == 2
    assert "paid has spent $0.60 already, and a budget of $0.50 is for all of it" in ran.err
    assert "elsewhere resume paid --budget 1.20" in ran.err
    assert budget(job) == Decimal(1)
    assert shell("resume", "paid", "--budget", "much").status == 2


def test_a_job_that_costs_nothing_has_no_budget(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.home.mkdir(mode=0o700)
    monkeypatch.setenv("ELSEWHERE_HOME", str(shell.home))
    session.create(JobSpec(ids.new("job"), "free", Entry("command", command=("true",))), [NewTask("t1", b"null")])
    ran = shell("resume", "free", "--budget", "2")
    assert ran.status == 2 and "free costs nothing on local, so it has no budget" in ran.err


def test_another_budget_is_warned_of_anew(job: JobFiles) -> None:
    ledger = Ledger.open(job.ledger)
    with ledger.moving():
        ledger.set("warned", True)
    ledger.close()
    session.settle(job, limits=Limits(budget=Decimal(9)))
    reader = job.open()
    assert reader.get("warned") is False and reader.spec.limits.budget == Decimal(9)
    reader.close()


def test_explain_tells_of_machines_in_sentences(shell: Shell, job: JobFiles) -> None:
    said = shell("explain", "paid").out
    assert "It asked for 1 machine of c7g.large in east-a, spot, at $0.60 an hour." in said
    assert "Machine i-2 was taken back by the place after 30m00s, which cost $0.30: spot reclaimed." in said
    assert "Machine (job" not in said
    assert json.loads(shell("explain", "paid", "--json").out)["story"]
