"""The SDK of AWS as the rooms of this house use it: made when first needed, once, and speaking our errors.

Knows no service. No exception of the SDK passes `asking`.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from elsewhere.errors import (
    AccessDenied,
    CredentialsExpired,
    ElsewhereError,
    MissingExtra,
    NotFound,
    PlaceError,
    QuotaExceeded,
    Refused,
    Unreachable,
    UsageError,
)

RING = "elsewhere:ring"
"""The tag of a machine by which it is called."""
CLAIM = "x-elsewhere-claim"
IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"
"""The request that tells who signed it."""
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_DENIED = {
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthFailure", "InvalidAccessKeyId",
    "InvalidSecurity", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnauthorizedOperation",
    "UnrecognizedClientException",
}  # fmt: skip
_MISSING = {"NoSuchBucket", "NoSuchKey", "NotFound", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_LATER = {
    "InternalError", "InternalFailure", "RequestLimitExceeded", "RequestThrottled", "RequestTimeout", "SlowDown",
    "RequestTimeTooSkewed", "ServiceUnavailable", "ThrottledException", "Throttling", "ThrottlingException",
    "TooManyRequestsException", "AWS.SimpleQueueService.QueueDeletedRecently", "OperationAborted",
    "ConditionalRequestConflict",
}  # fmt: skip
_QUOTA = {"OverLimit", "LimitExceeded", "VcpuLimitExceeded", "TooManyBuckets"}


_profile = ""
_profiles: dict[str, str] = {}
"""Bucket -> the profile with which it, and the queues of its jobs, are used."""
_regions: dict[str, str] = {}
"""Bucket -> where it is."""


def prefer(profile: str) -> None:
    """Calls are made with this profile of ~/.aws unless told otherwise (`use`), if none was yet. Twice: harmless."""
    global _profile
    if profile and not _profile and not session.cache_info().currsize:
        _profile = profile


def use(bucket: str, profile: str) -> None:
    """This bucket, and the queues of jobs that keep their things there, are used with this profile; empty: with none.
    Twice: harmless. UsageError: they are used with another one."""
    known = _profiles.get(bucket, profile)
    if _named(known) != _named(profile):
        raise UsageError(f"this program uses the bucket {bucket} with the profile {_named(known)}, "
                         f"and this place wants {_named(profile)}",
                         hint="Give each place a `bucket:` of its own, or run these in two programs.")  # fmt: skip
    _profiles[bucket] = known


def profile_of(bucket: str) -> str:
    """With which a bucket is used; empty: with none."""
    return _profiles.get(bucket, _profile)


def _named(profile: str) -> str:
    return profile or session("").profile or "default"


@functools.cache
def session(profile: str | None = None) -> Any:
    """The SDK's session, with its own chain of credentials. MissingExtra if it is not installed. `profile`: as `opened`
    has it; None: the preferred one."""
    if profile is None:
        return session(_profile)
    with asking("the profile"):
        return opened(profile)


def require() -> None:
    """MissingExtra if the SDK is not installed. It is not loaded."""
    if find_spec("botocore") is None:
        raise MissingExtra("the place aws needs botocore, which is not installed", hint="pip install 'elsewhere[aws]'")


def opened(profile: str = "") -> Any:
    """A session of the SDK's for this profile; empty: the one that the environment names. All of them share what was
    read of its descriptions of services, which are large. MissingExtra if it is not installed."""
    require()
    from botocore.session import Session

    made = Session(profile=profile or None)
    made.register_component("data_loader", _descriptions(made.get_config_variable("data_path")))
    return made


@functools.cache
def _descriptions(path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(path)


def region(wanted: str = "") -> str:
    """`wanted`, or the one that the user's settings name. UsageError if there is none."""
    found = wanted or os.environ.get("AWS_REGION") or session().get_config_variable("region")
    if not found:
        raise UsageError("no region is named", hint="set AWS_REGION, or `region` in the place's settings")
    return str(found)


def region_of(bucket: str) -> str:
    """Where this bucket is, as it says itself; empty: it does not say. Waits for its answer, once."""
    if bucket not in _regions:
        profile = profile_of(bucket)
        near = os.environ.get("AWS_REGION") or session(profile).get_config_variable("region") or "us-east-1"
        try:
            with asking("s3:HeadBucket"):
                said = client("s3", near, profile).head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
        except PlaceError:
            return ""
        _regions[bucket] = str(said.get("x-amz-bucket-region", ""))
    return _regions[bucket]


@functools.cache
def client(service: str, where: str, profile: str | None = None) -> Any:
    """The client of one service in one region, for several threads. Ask for it at each call: `forget` ends it.
    `profile`: as `session` has it."""
    from botocore.config import Config

    endpoint(service)
    # longer than the longest poll of a queue, shorter than a lease
    config = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=30)
    with asking(f"{service} in {where}"):
        return session(profile).create_client(service, region_name=where, config=config)


def endpoint(service: str) -> str:
    """Where the environment sends calls of this service, or "". UsageError if they would be readable on their way."""
    name = f"AWS_ENDPOINT_URL_{service.upper()}"
    url = os.environ.get(name) or os.environ.get("AWS_ENDPOINT_URL") or ""
    parts = urlsplit(url)
    if url and not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(parts.hostname or ""))):
        raise UsageError(f"{name}: {url!r} is not https", hint="http is for this machine's own addresses only")
    return url


@contextmanager
def asking(call: str) -> Iterator[None]:
    """Whatever the SDK raises within becomes an error of ours that names this call, such as sqs:SendMessage."""
    try:
        yield
    except ElsewhereError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("botocore", "boto3", "urllib3")):
            raise
        raise explained(error, call) from error


def explained(error: Exception, call: str) -> PlaceError:
    """What an exception of the SDK comes to."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        said = answer.get("Error", {})
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return by_code(str(said.get("Code", "")), str(said.get("Message", "")) or str(error), call, status)
    kind = type(error).__name__
    if "SSO" in kind or "Token" in kind or "Refresh" in kind or kind.startswith("Login"):
        return _expired(call)
    if "Credential" in kind or kind == "ProfileNotFound":
        hint = f"`{_login()}`, or `aws configure`; what is used is what the AWS command line uses"
        return AccessDenied(f"{call}: {error}", hint=hint)
    if kind in ("ParamValidationError", "UnknownServiceError", "InvalidRegionError", "InvalidEndpointDiscoveryError"):
        return Refused(f"{call}: {error}")
    return Unreachable(f"{call}: no answer ({error})", hint="it is asked again; see that the network is there")


def by_code(code: str, text: str, call: str, status: int = 0) -> PlaceError:
    """What an answer with this error code comes to."""
    if code in _EXPIRED or "token included in the request is expired" in text:
        return _expired(call)
    if code in _DENIED or (status in (401, 403) and code not in _LATER):
        return AccessDenied(f"{call} is not allowed: {text or code}", hint=_allow(call))
    if code in _MISSING or (status == 404 and not code):
        return NotFound(f"{call}: {text or code}")
    if code in _LATER or "Throttl" in code or status >= 500 or status == 429:
        return Unreachable(f"{call}: {text or code}", hint="it is asked again, less often")
    if code in _QUOTA:
        return QuotaExceeded(f"{call}: {text or code}")
    return Refused(f"{call}: {text or code} ({code})")


def sign_identity(where: str, claim: bytes) -> bytes:
    """GetCallerIdentity, signed with our own role (Signature Version 4), `claim` among the signed headers, as JSON.

    Whoever makes this call learns from STS who signed it, and can do nothing else with it. AccessDenied: no role.
    """
    import json

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    with asking("sts:GetCallerIdentity"):
        keys = session().get_credentials()
        if keys is None:
            raise AccessDenied("this machine has no role, so it cannot prove which one it is",
                               hint="give its place an instance-profile")  # fmt: skip
        url = client("sts", where).meta.endpoint_url
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            CLAIM: claim.hex(),
            "Host": urlsplit(url).netloc,
        }
        request = AWSRequest("POST", url.rstrip("/") + "/", headers=headers, data=IDENTITY)
        SigV4Auth(keys.get_frozen_credentials(), "sts", where).add_auth(request)
    return json.dumps(dict(request.headers.items())).encode()


def forget() -> None:
    """Read the user's credentials anew at the next call: those that were written down meanwhile."""
    session.cache_clear()
    client.cache_clear()
    _regions.clear()


def _expired(call: str) -> PlaceError:
    forget()
    return CredentialsExpired(
        f"{call}: the credentials have expired", hint=f"`{_login()}` in another window; the work goes on by itself"
    )


def _login() -> str:
    """Of one of several profiles it is not known here which."""
    used = {one or os.environ.get("AWS_PROFILE", "") for one in (_profile, *_profiles.values())}
    profile = used.pop() if len(used) == 1 else ""
    plain = re.fullmatch(r"[\w.@/+-]+", profile)
    return "aws sso login" + (f" --profile {profile}" if plain else "")


def _allow(call: str) -> str:
    return (
        f'the policy needs "Action": "{call}"' if re.fullmatch(r"[a-z0-9-]+:\w+", call) else "ask who runs the account"
    )


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
