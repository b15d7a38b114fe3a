"""The backend of EC2 meets the contract, in a sandbox whose machines are real processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backends.aws.cloud import cloud
from elsewhere.backends.aws import Aws, AwsSettings, request
from elsewhere.backends.base import Backend, Launch
from elsewhere.errors import Throttled, Unreachable
from elsewhere.model.resources import Resources
from elsewhere.sandbox.cloud import Cloud
from elsewhere.testing.conformance import BackendConformance
from sandbox.cloud import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as made:
        yield made


class TestAws(BackendConformance):
    @pytest.fixture
    def backend(self, sandbox: Cloud) -> Iterator[Backend]:
        place = Aws(AwsSettings(region="us-east-1"))
        yield place
        place.cancel([seen.native for seen in place.owned() if seen.ended is None])

    def again(self, backend: Backend) -> Backend:
        return Aws(AwsSettings(region="us-east-1"))


def test_a_launch_in_parts_gives_the_same_set_again_and_what_came_when_a_part_is_refused(
    sandbox: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "MOST", 2)
    monkeypatch.setattr(sandbox.limits, "_held", False)  # five requests at once are all that it allows
    place = Aws(AwsSettings(region="us-east-1"))
    five = launch("lch-parts", 5)
    natives = place.submit(five)
    assert len(set(natives)) == 5 and set(place.submit(five)) == set(natives)
    calls, real = Counter[str](), Aws._run

    def third_is_refused(self: Aws, *words: Any) -> Any:
        calls["run"] += 1
        if calls["run"] == 3:
            raise Throttled("ec2:RunInstances: Request limit exceeded.")
        return real(self, *words)

    monkeypatch.setattr(Aws, "_run", third_is_refused)
    some = place.submit(launch("lch-short", 7))
    assert len(some) == 4 and calls["run"] == 3
    monkeypatch.setattr(Aws, "_launched", lost)
    calls.clear()
    with pytest.raises(Unreachable, match="not known what came"):
        place.submit(launch("lch-short", 7))
    monkeypatch.undo()
    until(lambda: {s.native for s in place.owned()} >= {*natives, *some}, "all are shown")
    place.cancel([*natives, *some])


def lost(*_: Any) -> Any:
    raise Unreachable("no answer")


def launch(name: str, count: int) -> Launch:
    labels = {"job": "job-1", "owner": "me", "expiry": "0"}
    later = datetime.now(UTC) + timedelta(minutes=10)
    return Launch(name, count, "#!/bin/sh\nsleep 60\n", Resources(), timedelta(minutes=10), later, labels)
