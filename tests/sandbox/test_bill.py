"""What it would have cost: by AWS's rules, at the prices of the sandbox's own price list."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from elsewhere.sandbox import bill, catalog
from elsewhere.sandbox.fleet import BY_USER, RECLAIMED, Instance, Move, Order, Reason
from elsewhere.sandbox.market import Market
from sandbox.cloud import Sandbox, until

MARKET = Market(0)
START = 1_800_000_000.0


def _instance(ran: float, *, spot: bool = False, reason: Reason = BY_USER) -> Instance:
    order = Order(
        "c5.large", 2, "x86_64", "ami-1", "us-east-1", "us-east-1a", "subnet-1", "vpc-1", spot=spot, disk_gb=100
    )
    machine: Any = None
    instance = Instance("i-1", order, "r-1", 0, START, machine, "", "172.31.0.4", "198.18.0.4")
    end = START + ran
    for state, at in (("pending", START), ("running", START), ("shutting-down", end), ("terminated", end)):
        instance.moves.append(Move(state, at, at, reason))
    return instance


def _line(instance: Instance) -> bill.Line:
    return bill.line(instance, MARKET, START + 1e6)


def test_a_machine_costs_by_the_second_and_a_minute_at_least() -> None:
    hour = catalog.on_demand("c5.large", "us-east-1")
    assert _line(_instance(5)).compute == hour / 60
    assert _line(_instance(90)).compute == hour * 90 / 3600
    assert _line(_instance(7200)).compute == hour * 2


def test_a_spot_machine_taken_back_in_its_first_hour_is_free_and_no_other() -> None:
    assert _line(_instance(3599, spot=True, reason=RECLAIMED)).compute == 0
    assert _line(_instance(3601, spot=True, reason=RECLAIMED)).compute > 0
    ended = _line(_instance(3599, spot=True))
    assert 0 < ended.compute < catalog.on_demand("c5.large", "us-east-1")


def test_disk_and_address_are_billed_beside_it() -> None:
    line = _line(_instance(3600))
    assert line.address == Decimal("0.005")
    assert line.disk == catalog.disk_gb_month("us-east-1") * 100 / 730
    assert line.total == line.compute + line.disk + line.address


def test_a_spot_machine_pays_each_second_at_its_price() -> None:
    market = Market(0)
    market.fix("c5.large", "", Decimal("0.02"), START)
    market.fix("c5.large", "", Decimal("0.06"), START + 900)
    assert market.cost("c5.large", "us-east-1a", START, START + 1800) == pytest.approx(Decimal("0.02"))


def test_requests_are_metered_and_the_bill_adds_up(cloud: Sandbox) -> None:
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    s3.create_bucket(Bucket="metered")
    for number in range(10):
        s3.put_object(Bucket="metered", Key=str(number), Body=b"x")
    s3.get_object(Bucket="metered", Key="1")
    url = sqs.create_queue(QueueName="metered")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x" * 200_000)
    [id] = cloud.run()
    until(lambda: cloud.state(id) == "running")
    cloud.client("ec2").terminate_instances(InstanceIds=[id])
    until(lambda: cloud.state(id) == "terminated")
    found = cloud.bill()
    counts = {kind: row["count"] for kind, row in found["requests"].items()}
    assert (counts["s3 write"], counts["s3 read"], counts["sqs"]) == (11, 1, 5)
    assert found["calls"]["s3 PutObject"] == 10
    parts = [Decimal(row["total"]) for row in found["machines"]]
    parts += [Decimal(row["dollars"]) for row in found["requests"].values()]
    assert abs(sum(parts) - Decimal(found["total"])) < Decimal("0.00001")
    assert found["running"] == 0 and cloud.status()["running"] == 0


def _products(cloud: Sandbox, **filters: str) -> list[dict[str, Any]]:
    rows = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    pages = cloud.client("pricing").get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=rows)
    return [json.loads(text) for page in pages for text in page["PriceList"]]


def _dollars(product: dict[str, Any]) -> Decimal:
    [term] = product["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    return Decimal(dimension["pricePerUnit"]["USD"])


def test_the_price_list_has_the_prices_that_are_billed(shared: Sandbox) -> None:
    usual = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
    [one] = _products(shared, instanceType="c5.large", regionCode="us-east-1", **usual)
    assert _dollars(one) == catalog.on_demand("c5.large", "us-east-1")
    assert one["product"]["attributes"]["vcpu"] == "2"
    every = _products(shared, regionCode="us-east-1", **usual)
    names = [product["product"]["attributes"]["instanceType"] for product in every]
    assert len(names) == len(set(names)) > 900
    [disk] = _products(shared, regionCode="eu-central-1", volumeApiName="gp3")
    assert _dollars(disk) == catalog.disk_gb_month("eu-central-1")
    [address] = _products(shared, location="US East (N. Virginia)", group="VPCPublicIPv4Address")
    assert _dollars(address) == catalog.ADDRESS_HOUR


def test_every_type_has_a_price_and_bigger_ones_cost_more() -> None:
    for name in catalog.types():
        assert catalog.on_demand(name, "us-east-1") > 0
    prices = [catalog.on_demand(f"m5.{size}", "us-east-1") for size in ("large", "xlarge", "2xlarge", "4xlarge")]
    assert prices == sorted(prices) and prices[0] < prices[-1]
