"""Whether a request was signed by who it names: Signature Version 4, in the headers or in the query.

botocore computes what the signature must be; nothing of the algorithm is written again here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from calendar import timegm
from urllib.parse import parse_qs

from elsewhere.sandbox.http import Request
from elsewhere.sandbox.keys import Key

_SKEW = 900.0
"""Seconds that AWS lets a signature in the headers be old, or early."""
_LONGEST = 604800


def fault(request: Request, key: Key) -> tuple[str, str] | None:
    """The error's code and words; None: it is signed by the holder of `key`, for just this request, and still good."""
    words = _words(request)
    if words is None:
        return "IncompleteSignature", "The request carries no complete signature of version 4."
    if key.token and words.get("token", "") != key.token:
        return "InvalidClientTokenId", "The security token included in the request is invalid."
    late = _late(words)
    if late:
        return late
    claimed = request.headers.get("x-amz-content-sha256", "")
    if claimed and claimed != hashlib.sha256(request.body).hexdigest():
        return "SignatureDoesNotMatch", "The body is not the one that was signed."
    if not hmac.compare_digest(_signature(request, words, key), words["signature"]):
        said = "The request signature we calculated does not match the signature you provided."
        return "SignatureDoesNotMatch", said
    return None


def _words(request: Request) -> dict[str, str] | None:
    """credential, signed, signature, date; token and expires where there are such."""
    header = request.headers.get("authorization", "")
    if header.startswith("AWS4-HMAC-SHA256 "):
        parts = dict(part.strip().partition("=")[::2] for part in header.split(" ", 1)[1].split(","))
        found = {
            "credential": parts.get("Credential", ""),
            "signed": parts.get("SignedHeaders", ""),
            "signature": parts.get("Signature", ""),
            "date": request.headers.get("x-amz-date", ""),
            "token": request.headers.get("x-amz-security-token", ""),
        }
    else:
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        found = {
            "credential": query.get("X-Amz-Credential", ""),
            "signed": query.get("X-Amz-SignedHeaders", ""),
            "signature": query.get("X-Amz-Signature", ""),
            "date": query.get("X-Amz-Date", ""),
            "expires": query.get("X-Amz-Expires", "0"),
            "token": query.get("X-Amz-Security-Token", ""),
        }
    whole = all(found[name] for name in ("credential", "signed", "signature", "date"))
    return found if whole and found["credential"].count("/") == 4 else None


def _late(words: dict[str, str]) -> tuple[str, str] | None:
    try:
        made = timegm(time.strptime(words["date"], "%Y%m%dT%H%M%SZ"))
        good = float(words.get("expires", _SKEW))
    except ValueError:
        return "IncompleteSignature", "The date of the signature cannot be read."
    now = time.time()
    if not made - _SKEW <= now <= made + min(good, _LONGEST):
        return "SignatureDoesNotMatch", f"Signature expired: {words['date']} is not within its time."
    return None


def _signature(request: Request, words: dict[str, str], key: Key) -> str:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    _, _, region, service, _ = words["credential"].split("/")
    query = "&".join(part for part in request.query.split("&") if not part.startswith("X-Amz-Signature="))
    signed = {name: request.headers.get(name, "") for name in words["signed"].split(";")}
    url = f"http://{request.headers.get('host', '')}{request.path}" + (f"?{query}" if query else "")
    again = AWSRequest(request.method, url, headers=signed, data=request.body)
    again.context["timestamp"] = words["date"]
    auth = SigV4Auth(Credentials(key.access_key, key.secret), service, region)
    return str(auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again))
