"""An image that a place on AWS names: where it is to be had is known with the offers, before anything is made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from elsewhere.backends.aws import catalog, images
from elsewhere.backends.aws.ec2 import Aws
from elsewhere.backends.aws.settings import AwsSettings
from elsewhere.errors import NotFound, Refused
from elsewhere.model.catalog import MachineType
from sandbox.cloud import Sandbox

HERE, THERE = "us-east-1", "us-west-2"


@pytest.fixture(autouse=True)
def account(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in shared.variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_it_is_looked_for_in_each_region_and_refused_where_none_has_it(shared: Sandbox) -> None:
    ec2 = shared.client("ec2", THERE)
    image = str(ec2.register_image(Name="mine", Architecture="x86_64", RootDeviceName="/dev/sda1")["ImageId"])
    clients = Aws(AwsSettings(region=HERE)).clients
    assert list(images.having(clients, (HERE, THERE), "")) == [HERE, THERE]
    for named in (image, "mine"):
        assert images.having(clients, (HERE, THERE), named) == [THERE]
        with pytest.raises(Refused, match=named):
            images.having(clients, (HERE,), named)
    with pytest.raises(NotFound, match="no SSM parameter /no/such in us-west-2"):
        images.having(clients, (HERE, THERE), "/no/such")


def test_regions_that_lack_it_sell_nothing_for_it() -> None:
    kind = MachineType("c5.large", 2, 4 << 30)
    regions = [
        catalog.Region(name, datetime.now(UTC), {kind.name: kind}, {kind.name: zones}, {kind.name: (85_000, "")}, {})
        for name, zones in ((HERE, ["us-east-1a", "us-east-1b"]), (THERE, ["us-west-2a"]))
    ]
    whole = catalog.assemble(regions)
    assert catalog.within(whole, (HERE, THERE)) is whole
    assert [zone.name for _, zone, _, _ in catalog.within(whole, (THERE,)).rows()] == ["us-west-2a"]
    assert [zone.name for _, zone, _, _ in catalog.within(whole, (HERE,)).rows()] == ["us-east-1a", "us-east-1b"]
