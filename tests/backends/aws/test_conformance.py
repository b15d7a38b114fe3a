"""The backend of EC2 meets the contract, on an API whose machines boot nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.aws.cloud import cloud
from elsewhere.backends.aws import Aws, AwsSettings
from elsewhere.backends.base import Backend
from elsewhere.testing.conformance import BackendConformance


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cloud(tmp_path_factory.mktemp("state")) as address:
        yield address


class TestAws(BackendConformance):
    runs_texts = False

    @pytest.fixture
    def backend(self, address: str) -> Iterator[Backend]:
        place = Aws(AwsSettings(region="us-east-1"))
        yield place
        place.cancel([seen.native for seen in place.owned() if seen.ended is None])

    def again(self, backend: Backend) -> Backend:
        return Aws(AwsSettings(region="us-east-1"))


def test_what_was_asked_is_kept_privately(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path))
    first = Aws(AwsSettings(region="us-east-1"))
    sold = first.catalog(["us-east-1"])
    files = sorted((tmp_path / "cache" / "aws").rglob("*.json"))
    assert [path.name for path in files] == ["prices-us-east-1.json", "spot-us-east-1.json", "types-us-east-1.json"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.setattr(first.clients, "get", None)  # nothing is asked again
    assert list(first.catalog(["us-east-1"]).rows()) == list(sold.rows())
    assert any(kind.name == "m5.large" and not spot for kind, _, spot, _ in sold.rows())
