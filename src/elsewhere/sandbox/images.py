"""The images that the sandbox has beside moto's: Ubuntu's, and one with a driver for GPUs; and what names them.

What stands on an image does not matter here: a machine runs on this computer's own system.
"""

from __future__ import annotations

import hashlib
from typing import Any

CANONICAL = "099720109477"
_RELEASES = (("22.04", "jammy", "hvm-ssd", "ebs-gp2"), ("24.04", "noble", "hvm-ssd-gp3", "ebs-gp3"))
_BUILT = "20261110"
_OLD = "ami-077fd75cd229c811b"
"""An older one, as configurations that were written then name it."""
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
_GB = 8
AMAZON = "898082745236"
_DRIVER = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04, {}) " + _BUILT
_PARAMETER = "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"


def rows() -> list[dict[str, Any]]:
    """As moto's table of images wants them."""
    ubuntu = [
        _row(_id(version, word), CANONICAL, _name(code, folder, version, word), architecture)
        | {"description": f"Canonical, Ubuntu, {version}, {word} {code} image (sandbox)"}
        for version, code, folder, _ in _RELEASES
        for word, architecture in _ARCHITECTURES.items()
    ]
    old = _row(_OLD, CANONICAL, _name("jammy", "hvm-ssd", "22.04", "amd64").replace(_BUILT, "20220914"), "x86_64")
    drivers = [_row(_id("driver", kind), AMAZON, _DRIVER.format(kind), kind) for kind in _ARCHITECTURES.values()]
    return [*ubuntu, *drivers, old | {"creation_date": "2022-09-15T08:00:00.000Z"}]


def _row(id: str, owner: str, name: str, architecture: str) -> dict[str, Any]:
    return {
        "ami_id": id,
        "state": "available",
        "public": True,
        "owner_id": owner,
        "image_location": f"amazon/{name}",
        "description": name,
        "sriov": "simple",
        "root_device_type": "ebs",
        "root_device_name": "/dev/sda1",
        "image_type": "machine",
        "platform": None,
        "architecture": architecture,
        "name": name,
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "creation_date": "2026-11-10T08:00:00.000Z",
    }


def parameters() -> dict[str, str]:
    """SSM's public parameters that name them, as Canonical and Amazon publish these."""
    drivers = {_PARAMETER.format(kind): _id("driver", kind) for kind in _ARCHITECTURES.values()}
    return drivers | {
        f"/aws/service/canonical/ubuntu/server/{release}/stable/current/{word}/hvm/{disk}/ami-id": _id(version, word)
        for version, code, _, disk in _RELEASES
        for release in (version, code)
        for word in _ARCHITECTURES
    }


def _name(code: str, folder: str, version: str, word: str) -> str:
    return f"ubuntu/images/{folder}/ubuntu-{code}-{version}-{word}-server-{_BUILT}"


def _id(version: str, word: str) -> str:
    return "ami-0" + hashlib.sha256(f"{version}/{word}".encode()).hexdigest()[:16]
