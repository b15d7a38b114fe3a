"""The keys of a place on AWS, each with its kind. A value that cannot be is answered before anything is asked.

Nothing of AWS is imported here; whether a region or a profile exists is asked where sessions are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from elsewhere.config import asked_kinds as asked
from elsewhere.config import kinds
from elsewhere.config.kinds import Kind
from elsewhere.errors import ConfigError

GIB = 1 << 30
DISK_TYPES = ("gp3", "gp2", "io2", "io1", "standard")
ARCHITECTURES = ("x86_64", "arm64")
_TAG = re.compile(r"[\w .:/=+@-]{1,128}")
_FORMS = {
    "zones": (re.compile(r"[a-z]{2}(-[a-z]+)+-\d(-[a-z]+-\d)?[a-z]"), "a zone such as us-east-1a"),
    "subnets": (re.compile(r"subnet-[0-9a-f]{8,17}"), "the id of a subnet such as subnet-0a1b2c3d"),
    "network": (re.compile(r"vpc-[0-9a-f]{8,17}"), "the id of a VPC such as vpc-0a1b2c3d"),
    "bucket": (re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w!.*'()/-]*)?"), "such as s3://my-bucket/prefix"),
    "controller_profile": (re.compile(r"[\w+=,.@-]{1,128}"), "the name of an instance profile, not its ARN"),
    "instance_profile": (re.compile(r"[\w+=,.@-]{1,128}"), "the name of an instance profile, not its ARN"),
}


def _key(default: Any, kind: Kind | None = None) -> Any:
    metadata = {} if kind is None else {"kind": kind}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """Keys of `places:` for `backend: aws`. Credentials are found by botocore's own chain, never written here."""

    region: str = field(default="", metadata={"ask": "region (empty: as your AWS profile says, else us-east-1)"})
    """Where machines are launched; empty: as the profile or AWS_REGION say, else us-east-1."""
    regions: tuple[str, ...] = ()
    """Where offers are looked for, and where `owned` looks, besides `region`."""
    zones: tuple[str, ...] = ()
    """Only these; empty: all of the region."""
    subnets: tuple[str, ...] = ()
    """Only in these; empty: the default network."""
    network: str = ""
    """The id of a VPC, in whose subnets machines stand; empty: the default network."""
    image: str = ""
    """An AMI's id, a name with `*` (of yours, Amazon's or Canonical's; the newest), or an SSM parameter (`/aws/...`).
    Empty: the newest Ubuntu LTS, with NVIDIA's driver where there are GPUs."""
    architecture: str = _key("", kinds.choice("", *ARCHITECTURES, "any"))
    """Only machines of this one."""
    instance_profile: str = "elsewhere"
    """The name of the instance profile that machines get: by its role they reach queues and bucket, and prove who they
    are. `elsewhere places check aws` says whether it is there, and how to make it."""
    controller_profile: str = "elsewhere-controller"
    """The same for a machine on which a controller sits (`--controller`): its role launches the machines of its job."""
    controller_term: timedelta = field(default=timedelta(hours=24), metadata={"kind": kinds.LIMIT})
    """How long such a machine lives at most; its job can be resumed after."""
    disk: int = _key(20 * GIB, kinds.SIZE)
    """Of the boot disk, at least."""
    disk_type: str = _key("gp3", kinds.choice(*DISK_TYPES))
    spot: bool = _key(False, asked.SPOT)
    """Whether machines are of the spot market; what is asked of them may say more (prefer)."""
    public_address: bool | None = None
    """None: as the subnet has it. Without one a machine needs another way to the queues (NAT, endpoints)."""
    security_group: str = ""
    """Its id; empty: one of our own, into which nothing may come."""
    key: str = ""
    """The name of an EC2 key pair; empty: none."""
    tags: Mapping[str, str] = _key({})
    """Also on machines and disks, such as Project and Owner."""
    bucket: str = ""
    """`s3://name/prefix`, for bytes."""
    profile: str = field(default="", metadata={"local": True})
    """Of ~/.aws/config here; a controller on a machine that was hired for it uses that machine's role."""

    def __post_init__(self) -> None:
        faults = []
        known = kinds.of_fields(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None or isinstance(value, timedelta):  # it was read already
                continue
            try:
                object.__setattr__(self, each.name, _checked(each.name, known[each.name].read(value)))
            except ValueError as error:
                faults.append(f"{each.name.replace('_', '-')} {error}")
        if faults:
            raise ConfigError("aws: " + "; ".join(faults), hint="Nothing was started.", faults=tuple(faults))


def _checked(name: str, value: Any) -> Any:
    if name == "spot":
        return value == "spot"
    if name == "architecture" and value == "any":
        return ""
    if name == "tags":
        return _tags(value)
    if name in _FORMS:
        form, meant = _FORMS[name]
        for word in value if isinstance(value, tuple) else (value,):
            if word and not form.fullmatch(word):
                raise ValueError(f"must be {meant}, not {word!r}")
    if name == "security_group" and value and not value.startswith("sg-"):
        raise ValueError(f"must be the id of a security group such as sg-0a1b2c3d, not {value!r}")
    if name == "disk" and value < GIB:
        raise ValueError(f"must be 1GiB or more, not {value} bytes; write a unit, such as 20GiB")
    return value


def _tags(tags: Mapping[str, Any]) -> Mapping[str, str]:
    for key, value in tags.items():
        if not isinstance(key, str) or not _TAG.fullmatch(key) or key.lower().startswith(("aws:", "elsewhere:")):
            raise ValueError(f"has a key that AWS or we do not take: {key!r}")
        if not isinstance(value, str) or len(value) > 256:
            raise ValueError(f"{key} must be text of at most 256 characters, not {value!r}")
    if len(tags) > 30:
        raise ValueError(f"has {len(tags)} tags; 30 at most")
    return dict(tags)
