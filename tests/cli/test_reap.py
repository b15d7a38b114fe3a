"""`elsewhere reap` and what `places` says of paid places, on machines of this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cli.command import Shell
from elsewhere.backends.base import Condition, Launch
from elsewhere.backends.local import Local, LocalSettings
from elsewhere.model.resources import Resources
from elsewhere.pool import reaper


@pytest.fixture
def place(shell: Shell) -> Iterator[Local]:
    """Two machines of mine, one of somebody else's, one that lacks a label."""
    made = Local(LocalSettings(str(shell.home / "machines")))
    later = datetime.now(UTC) + timedelta(hours=1)
    full = {name: reaper.labels(f"job-{name}", name, reaper.me(), later) for name in ("one", "two", "other", "bare")}
    full["other"]["owner"] = "somebody@else"
    del full["bare"]["expiry"]
    natives: list[str] = []
    for name, labels in full.items():
        script = "#!/bin/sh\nexec sleep 300\n"
        natives += made.submit(Launch(name, 1, script, Resources(), timedelta(hours=1), later, labels))
    yield made
    made._asked = dict.fromkeys(natives, float("-inf"))
    made.cancel(natives)


def ended(place: Local) -> set[str]:
    return {path.parent.parent.name for path in place.directory.glob("*/*/cancelled")}


def test_it_lists_before_it_stops_and_without_a_terminal_wants_yes(shell: Shell, place: Local) -> None:
    asked = shell("reap", "--on", "local")
    assert asked.status == 2 and "--yes" in asked.err
    assert "one.0" in asked.out and "two.0" in asked.out
    assert shell("reap", "--on", "local", "--dry-run").status == 0
    assert ended(place) == set()


def test_it_stops_mine_and_never_what_lacks_a_label(shell: Shell, place: Local) -> None:
    done = shell("reap", "--on", "local", "--yes", "--json")
    assert done.status == 0
    assert {row["machine"] for row in done.json()["machines"]} == {"one.0", "two.0"}
    assert ended(place) == {"one", "two"}
    assert shell("reap", "--on", "local", "--yes", "--all-owners").status == 0
    assert ended(place) == {"one", "two", "other"}
    assert place.status(["bare.0"])["bare.0"].condition in (Condition.RUNNING, Condition.PENDING)


def test_it_stops_one_job_alone(shell: Shell, place: Local) -> None:
    assert shell("reap", "--on", "local", "--job", "job-two", "--yes").status == 0
    assert ended(place) == {"two"}


def test_the_least_policy_is_printed_and_nobody_is_asked(shell: Shell) -> None:
    printed = shell("places", "check", "aws", "--policy", "user")
    assert printed.status == 0, printed.err
    assert "ec2:RunInstances" in json.dumps(json.loads(printed.out)["Statement"])
    assert shell("places", "check", "local", "--policy", "user").status == 2
    assert shell("places", "check", "--json").status == 0  # no account is needed for what nobody asked for
