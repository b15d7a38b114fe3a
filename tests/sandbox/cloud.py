"""A sandbox for tests: `with sandbox() as cloud:` gives a running one in this process, and its orders as methods."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere.sandbox import control
from elsewhere.sandbox.cloud import Cloud, Settings

PATIENCE = 60.0


class Sandbox:
    """`endpoint` and `variables` point SDKs at it; the orders are those of `elsewhere sandbox`."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.endpoint = cloud.found.endpoint
        self.variables = cloud.found.variables()
        self._clients: dict[object, Any] = {}

    def client(self, service: str, region: str = "us-east-1", **words: Any) -> Any:
        """A boto3 client of the user's, that does not try again by itself unless `config` says so."""
        import boto3
        from botocore.config import Config

        named = (service, region, repr(sorted(words.items())))
        if named in self._clients:
            return self._clients[named]
        user = self.cloud.keys.user
        words.setdefault("config", Config(retries={"total_max_attempts": 1}))
        words.setdefault("aws_access_key_id", user.access_key)
        words.setdefault("aws_secret_access_key", user.secret)
        made = boto3.session.Session().client(service, region, endpoint_url=self.endpoint, **words)
        self._clients[named] = made
        return made

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def order(self, verb: str, **words: Any) -> dict[str, Any]:
        return control.ask(self.cloud.found, verb, **words)

    def preempt(self, *ids: str, notice: float = 120) -> None:
        self.order("preempt", ids=ids, notice=notice)

    def kill(self, *ids: str) -> None:
        self.order("kill", ids=ids)

    def freeze(self, *ids: str) -> None:
        self.order("freeze", ids=ids)

    def thaw(self, *ids: str) -> None:
        self.order("thaw", ids=ids)

    def partition(self, *ids: str) -> None:
        self.order("partition", ids=ids)

    def heal(self, *ids: str) -> None:
        self.order("heal", ids=ids)

    def stock(self, kind: str, count: int, zone: str = "") -> None:
        self.order("stock", type=kind, zone=zone, count=count)

    def quota(self, name: str, value: float) -> None:
        self.order("quota", name=name, value=value)

    def price(self, kind: str, price: str, zone: str = "") -> None:
        self.order("price", type=kind, zone=zone, price=price)

    def fault(self, action: str, kind: str, **words: Any) -> None:
        """`kind` as in faults.KINDS; times, seconds, code."""
        self.order("fault", action=action, kind=kind, **words)

    def refuse_next(self, action: str, code: str = "InternalError", times: int = 1) -> None:
        self.fault(action, "refuse", code=code, times=times)

    def lose_reply_next(self, action: str, after: bool = True, times: int = 1) -> None:
        self.fault(action, "lose-after" if after else "lose", times=times)

    def throttle(self, action: str, seconds: float) -> None:
        self.fault(action, "throttle", seconds=seconds)

    def bill(self) -> dict[str, Any]:
        return self.order("bill")

    def status(self) -> dict[str, Any]:
        return self.order("status")

    def machines(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.order("machines")["machines"]
        return rows

    def image(self, architecture: str = "amd64") -> str:
        """The newest Ubuntu's id."""
        name = f"/aws/service/canonical/ubuntu/server/24.04/stable/current/{architecture}/hvm/ebs-gp3/ami-id"
        return str(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def run(self, script: str = "", count: int = 1, kind: str = "c5.large", **words: Any) -> list[str]:
        """Ids of machines that boot `script`."""
        reply = self.client("ec2").run_instances(
            ImageId=self.image(), InstanceType=kind, MinCount=count, MaxCount=count, UserData=script, **words
        )
        return [instance["InstanceId"] for instance in reply["Instances"]]

    def console(self, id: str) -> str:
        return self.cloud.fleet.instances[id].machine.console().decode(errors="replace")

    def root(self, id: str) -> Path:
        """The machine's directory."""
        return self.cloud.fleet.instances[id].machine.root

    def state(self, id: str) -> str:
        return self.cloud.fleet.instances[id].move.state


def fetch(request: urllib.request.Request | str) -> tuple[int, str]:
    """The status and the text of an answer, whatever it is."""
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until(true: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
    """The first true answer; fails after a generous while."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never came true: {what or true}")


def _empty_buckets(cloud: Cloud) -> None:
    """moto keeps them for the whole process: those of a test before are none of the next one's."""
    cloud.moto.wait()
    from moto.s3.models import s3_backends

    for account in s3_backends.values():
        for backend in account.values():
            backend.reset()


@contextlib.contextmanager
def sandbox(
    speed: float = 1.0,
    lag: float = 0.0,
    seed: int = 0,
    region: str = "us-east-1",
    throttle: bool = False,
    isolation: str = "none",
) -> Iterator[Sandbox]:
    """A sandbox of its own, up for as long as the block lasts; its machines are gone afterwards."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, which is not installed here")
    with tempfile.TemporaryDirectory(prefix="sandbox-") as directory:
        cloud = Cloud(Path(directory), Settings(speed, seed, region, lag, throttle, isolation))
        cloud.start()
        made = Sandbox(cloud)
        _empty_buckets(cloud)
        try:
            yield made
        finally:
            made.close()
            cloud.close()
