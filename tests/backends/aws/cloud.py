"""A moto server on loopback, with the two things of RunInstances that it lacks: tokens that are honoured, and prices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from elsewhere.backends.aws import images, prices

REGION = "us-east-1"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "true",
}
SOLD = {"t3.micro": (10_400, "Intel Xeon"), "c7g.large": (72_500, "AWS Graviton3 Processor"), "m5.large": (96_000, "x")}


@contextmanager
def surroundings(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """Dummy credentials, no files of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("ELSEWHERE_HOME", str(home))
        yield patch


@contextmanager
def cloud(home: Path) -> Iterator[str]:
    """The server's address; AWS_ENDPOINT_URL leads to it."""
    from moto.ec2.models.instances import InstanceBackend
    from moto.server import ThreadedMotoServer


    with surroundings(home) as patch:
        honour_tokens(patch, InstanceBackend)
        patch.setattr(prices, "ask_machines", lambda clients, region: dict(SOLD))
        patch.setattr(prices, "ask_disk", lambda clients, region, kind: 80_000)
        patch.setattr(prices, "ask_address", lambda clients, region: 5_000)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setattr(images, "CANONICAL", "123456789012")  # moto's images of Ubuntu are ten years old
        publish(address)
        try:
            yield address
        finally:
            server.stop()


def publish(address: str) -> None:
    """An Ubuntu of each architecture."""
    import boto3

    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=address)
    for arch, architecture in (("amd64", "x86_64"), ("arm64", "arm64")):
        name = images.UBUNTU_NAME.format(arch=arch).replace("*", "20260101")
        ec2.register_image(Name=name, Architecture=architecture, RootDeviceName="/dev/sda1", BlockDeviceMappings=[
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8}}])  # fmt: skip


def honour_tokens(patch: pytest.MonkeyPatch, backend: Any) -> None:
    """The same token gives the same machines; as many as the request has at most."""
    real, known, lock = backend.run_instances, {}, threading.Lock()

    def run(self: Any, image: str, count: int, *words: Any, **named: Any) -> Any:
        from flask import request

        most, token = int(request.form.get("MaxCount", count)), named.get("client_token")
        with lock:
            if token not in known:
                known[token] = real(self, image, most, *words, **named)
            return known[token]

    patch.setattr(backend, "run_instances", run)
