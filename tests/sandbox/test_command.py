"""`elsewhere sandbox` as it is typed: up, orders, down; what is left by one that was killed; what is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.command import Shell
from elsewhere.sandbox import machines
from sandbox.cloud import until

LAUNCH = """
import boto3
image = boto3.client("ssm").get_parameter(
    Name="/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id")["Parameter"]["Value"]
made = boto3.client("ec2").run_instances(ImageId=image, InstanceType="c5.large", MinCount=2, MaxCount=2,
    UserData="#!/bin/sh\\nsetsid sleep 600 &\\nexec sleep 601\\n")
"""


@pytest.fixture
def up(shell: Shell) -> Iterator[Shell]:
    ran = shell("sandbox", "up", "--detach", "--lag", "0")
    assert ran.status == 0, ran.err
    yield shell
    shell("sandbox", "down")


def _launch(shell: Shell) -> None:
    import subprocess
    import sys

    env = {**shell.env, **shell("sandbox", "env", "--json").json()}
    subprocess.run([sys.executable, "-c", LAUNCH], env=env, check=True, timeout=60)


def _of(home: Path) -> list[psutil.Process]:
    """Every living process of the machines below this state directory."""
    root, found = str(home), []
    for process in psutil.process_iter():
        try:
            if machines.MARK in (own := process.environ()) and own.get("HOME", "").startswith(root):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_nothing_survives_down(up: Shell) -> None:
    _launch(up)
    until(lambda: len(_of(up.home)) >= 4)
    assert "Machines: 2 running." in up("sandbox", "status").out
    ran = up("sandbox", "down")
    assert (ran.status, ran.out) == (0, "The sandbox is down; nothing is left.\n")
    assert _of(up.home) == [] and not (up.home / "sandbox").exists()
    assert up("sandbox", "status").status == 2


@pytest.mark.slow
def test_what_a_killed_sandbox_leaves_is_cleared_away(up: Shell) -> None:
    _launch(up)
    until(lambda: len(_of(up.home)) >= 4)
    os.kill(up("sandbox", "status", "--json").json()["pid"], signal.SIGKILL)
    assert len(_of(up.home)) >= 4
    assert up("sandbox", "status").status == 2
    assert up("sandbox", "down").status == 0
    assert _of(up.home) == [] and not (up.home / "sandbox").exists()


def test_one_sandbox_at_a_time_and_its_files_are_its_owners_alone(up: Shell) -> None:
    again = up("sandbox", "up", "--detach")
    assert again.status == 2 and "up already" in again.err
    assert (up.home / "sandbox").stat().st_mode & 0o777 == 0o700
    assert (up.home / "sandbox" / "sandbox.json").stat().st_mode & 0o777 == 0o600


def test_bad_orders_are_answered_and_change_nothing(up: Shell) -> None:
    for words, said in (
        (("preempt", "i-0"), "no machine that runs is called i-0"),
        (("stock", "c7g.large"), "is no order"),
        (("stock", "c7g.large=many"), "is not a number"),
        (("quota", "gpus=3"), "no quota gpus"),
        (("price", "zz9.huge=1"), "no machine type"),
        (("fault", "RunInstances=explode"), "no fault explode"),
        (("deny", "RunInstances"), "is no action of a policy"),
        (("allow",), "what?"),
        (("renew", "all"), "takes no 'all'"),
        (("statsu",), "did you mean status"),
    ):
        ran = up("sandbox", *words)
        assert ran.status == 2 and said in ran.err, (words, ran)
    status = up("sandbox", "status", "--json").json()
    assert (status["stock"], status["faults"]) == ({}, [])


def test_rights_are_taken_and_given_and_the_status_says_so(up: Shell) -> None:
    assert up("sandbox", "deny", "ec2:RunInstances", "s3:*").status == 0
    assert up("sandbox", "expire").status == 0
    said = up("sandbox", "status").out
    assert "Denied: ec2:RunInstances, s3:*." in said and "Expired: your key" in said
    up("sandbox", "allow", "*")
    told = up("sandbox", "renew", "--json")
    assert "secret" not in told.json()
    said = up("sandbox", "status").out
    assert "Denied" not in said and "Expired" not in said


def test_without_a_sandbox_its_orders_say_how_to_begin(shell: Shell) -> None:
    for verb in ("status", "env", "bill", "machines"):
        ran = shell("sandbox", verb)
        assert ran.status == 2 and "no sandbox is up" in ran.err and "sandbox up --detach" in ran.err
    assert shell("sandbox", "down").out == "No sandbox was up.\n"
    assert shell("sandbox", "up", "--region", "us-east-9").status == 2


def test_without_curl_no_machine_could_boot_and_that_is_said_at_once(shell: Shell, tmp_path: Path) -> None:
    ran = shell("sandbox", "up", "--detach", env={"PATH": str(tmp_path)})
    assert ran.status == 2 and "curl is not installed" in ran.err and "apt install curl" in ran.err
    assert shell("sandbox", "status").status == 2
