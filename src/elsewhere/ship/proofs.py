"""How a machine proves which one it is: a request that only it can sign, which the controller then makes for it.

The proof is over a claim (ship/letters.py): it cannot stand for other keys, nor for another job. It is of no use for
anything but asking who signed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from elsewhere.errors import AccessDenied, UsageError

CLAIM = "x-elsewhere-claim"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"


def prove(scheme: str, words: Mapping[str, str], claim: bytes) -> bytes:
    """The proof of this machine by the scheme that its channel's address names. AccessDenied: it has no identity."""
    if scheme not in _SCHEMES:
        raise UsageError(f"{scheme!r} is no way to prove who one is", hint=f"there are: {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme](words, claim)


def _sts(words: Mapping[str, str], claim: bytes) -> bytes:
    """GetCallerIdentity, signed with the machine's role (Signature Version 4), the claim among the signed headers."""
    import botocore.session
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    session = botocore.session.get_session()
    credentials = session.get_credentials()
    if credentials is None:
        raise AccessDenied("this machine has no role, so it cannot prove which one it is",
                           hint="give its place an instance-profile")  # fmt: skip
    region = words["region"]
    url = session.create_client("sts", region_name=region).meta.endpoint_url
    headers = {"Content-Type": "application/x-www-form-urlencoded", CLAIM: claim.hex(), "Host": urlsplit(url).netloc}
    request = AWSRequest("POST", url.rstrip("/") + "/", headers=headers, data=BODY)
    SigV4Auth(credentials.get_frozen_credentials(), "sts", region).add_auth(request)
    return json.dumps(dict(request.headers.items())).encode()


_SCHEMES: Mapping[str, Callable[[Mapping[str, str], bytes], bytes]] = {"sts": _sts}
