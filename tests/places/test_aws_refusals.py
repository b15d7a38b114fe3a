"""What a place refuses is said in one plain sentence, with what to do next, a status of 2 or 3, and nothing is left.

Typed as a user types it, against a sandbox that says no in one way after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command import Ran, Shell
from places.far import world
from sandbox.cloud import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
RUN = ("run", "tasks.json", "--entry", "work:double", "--on", "aws", "--budget", "1", "--machine-types", "c5.large")
WORK = "def double(x):\n    return 2 * x\n"


@pytest.fixture(scope="module")
def shared(far_home: Path) -> Iterator[Sandbox]:
    with world(far_home) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared: Sandbox) -> Iterator[Sandbox]:
    quotas = dict(shared.cloud.limits.quotas)
    yield shared
    shared.cloud.limits.quotas.update(quotas)
    shared.order("allow", actions=["*"])
    shared.order("renew")
    shared.order("fault", clear=True)


@pytest.fixture
def shell(cloud: Sandbox, far_home: Path, tmp_path: Path) -> Shell:
    """One that has the sandbox's variables, and a task list of one task."""
    made = Shell(tmp_path)
    made.patience = 200.0
    made.env |= {**cloud.variables, "ELSEWHERE_HOME": str(far_home), "AWS_CONFIG_FILE": "/nonexistent",
                 "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}  # fmt: skip
    made.write("work.py", WORK)
    made.write("tasks.json", '[{"task_id": "one", "data": {"x": 1}}]')
    return made


def of_jobs(cloud: Sandbox) -> list[str]:
    """What lies in buckets for a job, beside archives that the next one will find."""
    s3, found = cloud.client("s3"), []
    for bucket in s3.list_buckets()["Buckets"]:
        for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            found.append(entry["Key"])
    return [key for key in found if "/bundles/" not in key]


def refused(cloud: Sandbox, ran: Ran, status: int, *says: str) -> None:
    assert ran.status == status, ran.err
    said = " ".join(ran.err.split())
    assert all(word in said for word in says), ran.err
    assert "Traceback" not in ran.err
    cloud.order("allow", actions=["*"])  # so that we may look ourselves
    cloud.order("renew")
    assert cloud.cloud.fleet.known() == []
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    assert of_jobs(cloud) == []


def test_no_credentials(cloud: Sandbox, shell: Shell) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del shell.env[name]
    refused(cloud, shell(*RUN), 3, "there are no AWS credentials", "aws configure")


def test_credentials_that_have_expired(cloud: Sandbox, shell: Shell) -> None:
    cloud.order("expire")
    refused(cloud, shell(*RUN), 3, "credentials have run out", "aws sso login")


def test_credentials_that_aws_does_not_know(cloud: Sandbox, shell: Shell) -> None:
    shell.env["AWS_SECRET_ACCESS_KEY"] = "not the secret"
    refused(cloud, shell(*RUN), 3, "aws sts get-caller-identity")


def test_a_region_that_there_is_not(cloud: Sandbox, shell: Shell) -> None:
    shell.env["AWS_DEFAULT_REGION"] = "us-east-9"
    refused(cloud, shell(*RUN), 2, "no region 'us-east-9'", "us-east-")


@pytest.mark.parametrize(
    "action", ["ec2:RunInstances", "ec2:DescribeInstances", "sqs:CreateQueue", "s3:PutObject",
               pytest.param("ec2:DescribeSpotPriceHistory", marks=pytest.mark.soak)],
)  # fmt: skip
def test_one_call_that_is_not_allowed_is_named_with_the_line_of_the_policy(
    cloud: Sandbox, shell: Shell, action: str
) -> None:
    cloud.order("deny", actions=[action])
    words = (*RUN, "--spot") if "Spot" in action else RUN
    refused(cloud, shell(*words), 3, action, '"Action"')


def test_no_quota(cloud: Sandbox, shell: Shell) -> None:
    cloud.quota("standard", 0)
    refused(cloud, shell(*RUN), 3, "vCPU limit of 0", "elsewhere places check")


@pytest.mark.parametrize("image", ["ami-00000000000000000", "no-such-image-*"])
def test_an_image_that_there_is_not_is_refused_before_a_job_is_made(
    cloud: Sandbox, shell: Shell, far_home: Path, image: str
) -> None:
    shell.write("elsewhere.yaml", f"places:\n  aws:\n    image: '{image}'\n")
    before = sorted((far_home / "jobs").glob("*"))
    refused(cloud, shell(*RUN), 3, image.rstrip("*"), "image:")
    assert sorted((far_home / "jobs").glob("*")) == before


def test_an_image_of_another_architecture(cloud: Sandbox, shell: Shell) -> None:
    shell.write("elsewhere.yaml", f"places:\n  aws:\n    image: {cloud.image('arm64')}\n")
    refused(cloud, shell(*RUN), 3, "is made for arm64", "architecture: arm64")


def test_what_nothing_meets(cloud: Sandbox, shell: Shell) -> None:
    refused(cloud, shell(*RUN, "--machine-cpus", "5000.."), 2, "--machine-cpus")


def test_a_bucket_that_may_not_be_looked_into(cloud: Sandbox, shell: Shell) -> None:
    """As the real one answers for a bucket of somebody else."""
    cloud.order("deny", actions=["s3:ListBucket"])
    shell.write("elsewhere.yaml", "places:\n  aws:\n    bucket: s3://somebodys-bucket\n")
    refused(cloud, shell(*RUN), 3, "the bucket somebodys-bucket is not this account's", "bucket:")


def test_a_budget_below_what_it_will_cost_at_least(cloud: Sandbox, shell: Shell) -> None:
    words = [word if word != "1" else "0.001" for word in RUN]
    refused(cloud, shell(*words, "--task-time", "10h"), 2, "below the least that this can cost", "Raise --budget")


def test_no_default_network(cloud: Sandbox, shell: Shell) -> None:
    """In a region of which no other test speaks."""
    shell.env["AWS_DEFAULT_REGION"] = "eu-west-3"
    ec2 = cloud.client("ec2", "eu-west-3")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    refused(cloud, shell(*RUN), 3, "aws ec2 create-default-vpc", "subnets:")


CHECKS: dict[str, Callable[[Sandbox], Any]] = {
    "ec2:RunInstances": lambda cloud: cloud.order("deny", actions=["ec2:RunInstances"]),
    "quota": lambda cloud: cloud.quota("standard", 0),
}


@pytest.mark.parametrize("what", CHECKS)
def test_places_check_says_the_same_before_anything_is_tried(cloud: Sandbox, shell: Shell, what: str) -> None:
    CHECKS[what](cloud)
    ran = shell("places", "check", "aws")
    assert what in ran.out and ("What is missing" in ran.out + ran.err) == (what != "quota"), ran.out
    assert cloud.cloud.fleet.known() == []
