"""A sandbox cloud on loopback, of one process with the test; its price list is a short one of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elsewhere.sandbox.cloud import Cloud, Settings
from elsewhere.sandbox.http import Request, Response

REGION = "us-east-1"
SOLD = {"t3.micro": "0.0104", "c7g.large": "0.0725", "m5.large": "0.0960"}
LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


class PriceList:
    """GetProducts, of three types, a disk and an address."""

    def answer(self, request: Request) -> Response:
        asked = json.loads(request.body)
        wanted = {each["Field"]: each["Value"] for each in asked.get("Filters", ())}
        if asked["ServiceCode"] == "AmazonVPC":
            found = [product("0.005", "Hrs", {})]
        elif wanted.get("productFamily") == "Storage":
            found = [product("0.08", "GB-Mo", {})]
        else:
            found = [product(price, "Hrs", {**LINUX, "instanceType": kind}) for kind, price in SOLD.items()]
        body = json.dumps({"FormatVersion": "aws_v1", "PriceList": found}).encode()
        return Response(200, body, {"content-type": "application/x-amz-json-1.1"})

    def close(self) -> None:
        pass


def product(dollars: str, unit: str, attributes: dict[str, str]) -> str:
    terms = {"OnDemand": {"t": {"priceDimensions": {"d": {"unit": unit, "pricePerUnit": {"USD": dollars}}}}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})


@contextmanager
def cloud(home: Path) -> Iterator[Cloud]:
    """Its variables are set, and lead nowhere else; nothing of the user's own is read."""
    made = Cloud(home / "sandbox", Settings(lag=1.0))
    made.front.services.setdefault("pricing", PriceList())
    made.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_EC2"):
                patch.delenv(name, raising=False)
            for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
                patch.setenv(name, str(home / name.lower()))
            patch.setenv("ELSEWHERE_HOME", str(home / "state"))
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server.port}")
            patch.setenv("AWS_ACCESS_KEY_ID", made.found.access_key)
            patch.setenv("AWS_SECRET_ACCESS_KEY", made.keys.user.secret)
            patch.setenv("AWS_DEFAULT_REGION", REGION)
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            yield made
    finally:
        made.close()
