"""The backend of EC2 meets the contract, in a sandbox whose machines are real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backends.aws.cloud import cloud
from elsewhere.backends.aws import Aws, AwsSettings
from elsewhere.backends.base import Backend
from elsewhere.sandbox.cloud import Cloud
from elsewhere.testing.conformance import BackendConformance

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
