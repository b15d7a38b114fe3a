"""Which image a machine boots: by id, by name among trusted owners, by SSM parameter; by default the newest Ubuntu LTS.

A name is looked for among images of the account, of Amazon and of Canonical only: anybody may publish any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from elsewhere.backends.aws.clients import Clients
from elsewhere.errors import NotFound, Refused

CANONICAL = "099720109477"
OWNERS = ("self", "amazon", CANONICAL)
UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
UBUNTU_NAME = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-*"
DRIVER = "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
DEBIAN = {"x86_64": "amd64", "arm64": "arm64"}
"""How Debian and Ubuntu name architectures."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image as a launch needs it. `size`: the least GiB of its first disk."""

    id: str
    architecture: str
    root: str
    size: int
    name: str = ""
    created: datetime | None = None


def find(clients: Clients, region: str, given: str, architecture: str, gpus: bool = False) -> Found:
    """The image for a machine of this architecture. Refused says what to write instead."""
    if given.startswith("ami-"):
        found = _by_id(clients, region, given)
    elif given.startswith(("/", "resolve:ssm:", "ssm:")):
        found = _by_id(clients, region, parameter(clients, region, given.removeprefix("resolve:").removeprefix("ssm:")))
    elif given:
        found = _by_name(clients, region, given, architecture)
    else:
        found = _default(clients, region, architecture, gpus)
    if found.architecture != architecture:
        raise Refused(
            f"the image {found.id} is made for {found.architecture}, and the machine is {architecture}",
            hint=f"Write `architecture: {found.architecture}`, or name an image for {architecture}.",
        )
    return found


def _default(clients: Clients, region: str, architecture: str, gpus: bool) -> Found:
    if gpus:
        return _by_id(clients, region, parameter(clients, region, DRIVER.format(arch=architecture)))
    arch = DEBIAN[architecture]
    try:
        return _by_id(clients, region, parameter(clients, region, UBUNTU.format(arch=arch)))
    except NotFound:
        return _by_name(clients, region, UBUNTU_NAME.format(arch=arch), architecture, (CANONICAL,))


def parameter(clients: Clients, region: str, name: str) -> str:
    """The image's id that an SSM parameter holds. NotFound."""
    with clients.talking("ssm:GetParameter", region):
        ssm = clients.get("ssm", region)
        try:
            return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound as error:
            raise NotFound(
                f"there is no SSM parameter {name} in {region}",
                hint="Name another image by `image:`, or leave it out for the newest Ubuntu LTS.",
            ) from error


def _by_id(clients: Clients, region: str, image: str) -> Found:
    with clients.talking("ec2:DescribeImages", region):
        answer = clients.get("ec2", region).describe_images(ImageIds=[image])["Images"]
    if not answer:
        raise _nowhere(image, region)
    return parse(answer[0])


def _by_name(clients: Clients, region: str, name: str, architecture: str, owners: tuple[str, ...] = OWNERS) -> Found:
    filters = [{"Name": "name", "Values": [name]}, {"Name": "state", "Values": ["available"]}]
    with clients.talking("ec2:DescribeImages", region):
        pages = clients.get("ec2", region).get_paginator("describe_images")
        answer = [image for page in pages.paginate(Owners=list(owners), Filters=filters) for image in page["Images"]]
    if not answer:
        raise _nowhere(name, region)
    right = [image for image in answer if image.get("Architecture") == architecture]
    return parse(max(right or answer, key=lambda image: str(image.get("CreationDate", ""))))


def _nowhere(image: str, region: str) -> Refused:
    return Refused(
        f"there is no image {image!r} in {region}",
        hint="Ids differ from region to region; names are looked for among your own, Amazon's and Canonical's images. "
        "Leave `image:` out for the newest Ubuntu LTS.",
    )


def parse(image: Mapping[str, Any]) -> Found:
    """From an entry of DescribeImages."""
    root = str(image.get("RootDeviceName") or "/dev/sda1")
    disks = [m["Ebs"] for m in image.get("BlockDeviceMappings", ()) if m.get("DeviceName") == root and m.get("Ebs")]
    size = int(disks[0].get("VolumeSize") or 0) if disks else 0
    created = str(image.get("CreationDate") or "")
    return Found(
        str(image["ImageId"]),
        str(image.get("Architecture", "")),
        root,
        size,
        str(image.get("Name", "")),
        datetime.fromisoformat(created) if created else None,
    )
