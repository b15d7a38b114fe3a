"""Who may do what: keys that run out and are renewed, actions that are denied, signatures that must be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.cloud import Sandbox

ASK: dict[str, Callable[[Any], Any]] = {
    "ec2": lambda ec2: ec2.describe_instances(),
    "sqs": lambda sqs: sqs.list_queues(),
    "s3": lambda s3: s3.list_buckets(),
    "sts": lambda sts: sts.get_caller_identity(),
    "ssm": lambda ssm: ssm.describe_parameters(),
}


def refusal(call: Callable[[], Any]) -> str:
    """The code that it was refused with."""
    with pytest.raises(ClientError) as said:
        call()
    return str(said.value.response["Error"]["Code"])


def test_a_key_runs_out_for_every_service_and_is_good_again_once_it_is_renewed(cloud: Sandbox) -> None:
    clients = {service: cloud.client(service) for service in ASK}
    cloud.order("expire")
    assert cloud.status()["expired"]
    for service, client in clients.items():
        assert refusal(lambda service=service, client=client: ASK[service](client)).startswith("ExpiredToken")  # type: ignore[misc]
    cloud.order("renew")
    for service, client in clients.items():
        ASK[service](client)


def test_another_key_leaves_the_old_one_what_it_is(cloud: Sandbox) -> None:
    old = cloud.client("ec2")
    cloud.order("expire")
    new = cloud.order("renew", new=True)
    keys = {"aws_access_key_id": new["access_key"], "aws_secret_access_key": new["secret"]}
    ASK["ec2"](cloud.client("ec2", **keys))
    assert refusal(lambda: ASK["ec2"](old)).startswith("ExpiredToken")


@pytest.mark.parametrize(("action", "code"), [
    ("ec2:DescribeInstances", "UnauthorizedOperation"), ("sqs:ListQueues", "AccessDenied"),
    ("s3:*", "AccessDenied"), ("sts:GetCallerIdentity", "AccessDenied"),
])  # fmt: skip
def test_what_is_denied_is_refused_by_its_name_until_it_is_allowed(cloud: Sandbox, action: str, code: str) -> None:
    service = action.partition(":")[0]
    client = cloud.client(service)
    cloud.order("deny", actions=[action])
    assert refusal(lambda: ASK[service](client)) == code
    ASK["ssm"](cloud.client("ssm"))
    cloud.order("allow", actions=[action])
    ASK[service](client)


def test_a_batch_is_denied_by_the_action_that_a_policy_knows(cloud: Sandbox) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    cloud.order("deny", actions=["sqs:SendMessage"])
    entries = [{"Id": "1", "MessageBody": "x"}]
    assert refusal(lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries)) == "AccessDenied"


def test_machines_are_not_held_to_what_the_user_is_denied(cloud: Sandbox) -> None:
    [id] = cloud.run(IamInstanceProfile={"Name": "elsewhere"})
    key = cloud.cloud.keys.of_machine(id, "elsewhere")
    cloud.order("deny", actions=["*:*"])
    machine = cloud.client("sqs", aws_access_key_id=key.access_key, aws_secret_access_key=key.secret,
                           aws_session_token=key.token)  # fmt: skip
    ASK["sqs"](machine)


@pytest.mark.parametrize(("service", "code"), [
    ("ec2", "AuthFailure"), ("sqs", "SignatureDoesNotMatch"), ("ssm", "SignatureDoesNotMatch"),
    ("sts", "SignatureDoesNotMatch"),
])  # fmt: skip
def test_a_request_that_another_secret_signed_is_not_believed(shared: Sandbox, service: str, code: str) -> None:
    wrong = shared.client(service, aws_secret_access_key="not the secret")
    assert refusal(lambda: ASK[service](wrong)) == code
    ASK[service](shared.client(service))
