"""What a process asks AWS but once: who we are, which image machines boot, what its services look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elsewhere.backends.aws import images
from elsewhere.backends.aws.catalog import Shop
from elsewhere.backends.aws.clients import Clients, shared
from elsewhere.backends.aws.images import Found
from elsewhere.backends.aws.settings import AwsSettings


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return Clients(AwsSettings())


def test_whose_credentials_these_are_is_asked_once_and_again_when_they_were_forgotten(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(("111111111111", "222222222222"))

    class Sts:
        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": next(numbers)}

    monkeypatch.setattr(Clients, "get", lambda *_, **__: Sts())
    assert (clients.account, clients.account) == ("111111111111", "111111111111")
    clients.forget()
    assert clients.account == "222222222222"


def test_places_of_the_same_settings_share_their_clients_as_long_as_the_environment_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    mine = shared(AwsSettings(region="us-east-1"))
    assert shared(AwsSettings(region="us-east-1")) is mine
    assert shared(AwsSettings(region="us-west-2")) is not mine
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert shared(AwsSettings(region="us-east-1")) is not mine, "another cloud"


def test_the_image_that_nobody_named_is_kept_for_other_processes(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def find(*words: Any) -> Found:
        asked.append(words[1:])
        return Found(f"ami-{len(asked)}", words[3], "/dev/sda1", 8, "ubuntu")

    monkeypatch.setattr(images, "find", find)
    first = Shop(clients).image("us-east-1", "arm64", False)
    assert (
        Shop(clients).image("us-east-1", "arm64", False) == first == Found("ami-1", "arm64", "/dev/sda1", 8, "ubuntu")
    )
    assert Shop(clients).image("us-east-1", "x86_64", False).id == "ami-2"
    assert asked == [("us-east-1", "", "arm64", False), ("us-east-1", "", "x86_64", False)]
