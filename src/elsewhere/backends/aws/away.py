"""What machines of AWS and their controller share: a bucket, made if need be, and a way to prove who speaks.

The bucket is the account's own, closed to the public, and checked to be so before anything is put into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from elsewhere.aws import CLAIM, IDENTITY
from elsewhere.backends.base import Deposit, NativeId
from elsewhere.errors import AccessDenied, NotFound, Refused, Unreachable

PREFIX = "elsewhere"
_CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


class Speaks(Protocol):
    """Clients of this account (clients.py)."""

    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...
    def get(self, service: str, region: str = "") -> Any: ...
    def talking(self, call: str, region: str = "") -> Any: ...


def place_of(clients: Speaks, bucket: str) -> tuple[str, str]:
    """(bucket, prefix): as the settings say, or this account's own of this region."""
    if bucket:
        parts = urlsplit(bucket)
        return parts.netloc, "/".join(part for part in (parts.path.strip("/"), PREFIX) if part)
    return f"elsewhere-{clients.account}-{clients.region}", PREFIX


def deposit(clients: Speaks, bucket: str) -> Deposit:
    """The bucket is there and ours when this returns. Refused: it is somebody else's."""
    name, prefix = place_of(clients, bucket)
    s3, owner = clients.get("s3"), clients.account
    try:
        with clients.talking("s3:HeadBucket"):
            s3.head_bucket(Bucket=name, ExpectedBucketOwner=owner)
    except NotFound:
        _make(clients, s3, name)
    except (AccessDenied, Refused) as error:
        raise Refused(
            f"the bucket {name} is not this account's ({owner}), or may not be read: {error.message}",
            hint="Name one of your own: `bucket: s3://my-bucket` in the place's settings.",
        ) from error
    return Deposit(f"s3://{name}/{prefix}", {"region": clients.region, "proof": "sts", "notice": "ec2"})


def _make(clients: Speaks, s3: Any, name: str) -> None:
    where = {} if clients.region == "us-east-1" else {
        "CreateBucketConfiguration": {"LocationConstraint": clients.region}
    }  # fmt: skip
    with clients.talking("s3:CreateBucket"):
        s3.create_bucket(Bucket=name, **where)
    with clients.talking("s3:PutBucketPublicAccessBlock"):
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=_CLOSED)


def identify(clients: Speaks, proof: bytes, claim: bytes) -> NativeId:
    """Asks STS who signed this request, which is made to STS's own address whatever the proof says."""
    import botocore.awsrequest
    import botocore.httpsession

    headers = _headers(proof, claim)
    with clients.talking("sts:GetCallerIdentity"):
        url = clients.get("sts").meta.endpoint_url
        request = botocore.awsrequest.AWSPreparedRequest("POST", url.rstrip("/") + "/", headers, IDENTITY, False)
        answer = botocore.httpsession.URLLib3Session(timeout=10).send(request)
    if answer.status_code in (400, 401, 403):
        raise Refused("a machine's proof is not good: " + _text(answer.content, "Message"))
    if answer.status_code != 200:
        raise Unreachable(f"sts:GetCallerIdentity answered {answer.status_code}", hint="it is asked again")
    arn = _text(answer.content, "Arn").split(":")
    kind, _, name = (arn[5] if len(arn) == 6 else "").rpartition("/")
    if arn[4:5] != [clients.account] or not kind.startswith("assumed-role/") or not name.startswith("i-"):
        raise Refused(f"a proof was made by {':'.join(arn) or 'nobody'}, which is no machine of this account")
    return name


def _headers(proof: bytes, claim: bytes) -> Mapping[str, str]:
    """Those of the signed request, and nothing that was not meant to be in it. Refused: it is over something else."""
    try:
        given = {str(name).lower(): str(value) for name, value in json.loads(proof).items()}
    except (ValueError, AttributeError) as error:
        raise Refused("a machine's proof cannot be read") from error
    signed = given.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    if given.get(CLAIM) != claim.hex() or CLAIM not in signed:
        raise Refused("a machine's proof is over something else")
    known = ("authorization", "content-type", "host", "x-amz-date", "x-amz-security-token", CLAIM)
    return {name: given[name] for name in known if name in given and "\n" not in given[name]}


def _text(body: bytes, tag: str) -> str:
    import re

    found = re.search(rf"<{tag}>([^<]*)</{tag}>", body.decode(errors="replace"))
    return found[1] if found else ""
