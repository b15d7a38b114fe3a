"""From what botocore raises to our tree: which call, why, and what to do next. Pure but for `talking`, which wraps.

An answer whose effect is unknown is Unreachable, and nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elsewhere.errors import (
    AccessDenied,
    ConfigError,
    CredentialsExpired,
    ElsewhereError,
    InternalError,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    Refused,
    Throttled,
    Unreachable,
)

_QUOTAS = "Ask for more in the Service Quotas console, or by `aws service-quotas request-service-quota-increase`"
_VCPUS = f"`elsewhere places check` shows what is left of each vCPU quota. {_QUOTAS}."

# fmt: off
_AGAIN = "Try again; a job that is there does so by itself."
_KINDS: dict[str, tuple[type[ElsewhereError], str]] = {
    **dict.fromkeys(("InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity",
                     "InsufficientCapacityOnHost", "UnfulfillableCapacity", "ReservationCapacityExceeded"),
                    (NoCapacity, "Allow more machine types or zones, or try again later.")),
    "Unsupported": (NoCapacity, "This zone does not have this machine type; allow another zone or type."),
    "SpotMaxPriceTooLow": (NoCapacity, "The spot price is above the on-demand price just now; allow other types."),
    "MaxSpotInstanceCountExceeded": (NoCapacity, f"The spot quota is used up until machines end. {_VCPUS}"),
    "InsufficientFreeAddressesInSubnet": (NoCapacity, "The subnet has no address left; name another by `subnets:`."),
    **dict.fromkeys(("VcpuLimitExceeded", "InstanceLimitExceeded"), (QuotaExceeded, _VCPUS)),
    **dict.fromkeys(("VolumeLimitExceeded", "MaxIOPSLimitExceeded", "SecurityGroupLimitExceeded",
                     "AddressLimitExceeded", "NetworkInterfaceLimitExceeded"), (QuotaExceeded, f"{_QUOTAS}.")),
    **dict.fromkeys(("RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException",
                     "TooManyRequestsException", "SlowDown", "EC2ThrottledException", "ResourceCountExceeded",
                     "BandwidthLimitExceeded"),
                    (Throttled, "AWS was asked too often; a job that is there asks again by itself, more slowly.")),
    **dict.fromkeys(("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "NoSuchBucket", "404"),
                    (NotFound, "")),
    **dict.fromkeys(("InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"),
                    (Refused, "Name an image of this region by `image:`, or leave it out for the newest Ubuntu LTS.")),
    "TargetNotConnected": (Unreachable, "Its SSM agent is not up yet, or its role lacks what `elsewhere places check "
                                        "PLACE --policy machine` prints; ask again in a minute."),
    "ParameterNotFound": (Refused, "Name another image by `image:`, or leave it out for the newest Ubuntu LTS."),
    **dict.fromkeys(("VPCIdNotSpecified", "DefaultVpcDoesNotExist", "MissingInput"),
                    (Refused, "There is no default network in this region: `aws ec2 create-default-vpc` makes one, "
                              "or name subnets by `subnets:`.")),
    "InvalidSubnetID.NotFound": (Refused, "Name subnets of this region and account by `subnets:`."),
    "InvalidSubnet": (Refused, "Name subnets of this region and account by `subnets:`."),
    "InvalidGroup.NotFound": (Refused, "Name a security group of the same network, or leave `security-group:` out."),
    "InvalidKeyPair.NotFound": (Refused, "Name a key pair of this region by `key:`, or leave it out."),
    "InvalidInstanceType": (Refused, "`elsewhere offers` lists the machine types of a region."),
    "OperationNotPermitted": (Refused, "Machines that are protected against termination are yours to stop."),
    "InvalidInstanceAttributeValue": (Refused, "`elsewhere offers` lists the machine types of a region."),
    "IdempotentParameterMismatch": (InternalError, ""),
    **dict.fromkeys(("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess",
                     "AuthorizationError", "403"), (AccessDenied, "")),
    **dict.fromkeys(("AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException",
                     "InvalidAccessKeyId", "IncompleteSignature", "MissingAuthenticationToken"),
                    (AccessDenied, "AWS does not know these credentials, or not in this region: look at "
                                   "`aws sts get-caller-identity`.")),
    **dict.fromkeys(("OptInRequired", "PendingVerification", "Blocked"),
                    (AccessDenied, "The account may not use this region or service yet: see its AWS console.")),
    **dict.fromkeys(("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout",
                     "RequestTimeoutException", "InternalServiceError", "InternalServerError"),
                    (Unreachable, _AGAIN)),
}
_EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
                      "InvalidToken"))
_LOGINS = frozenset(("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "SSOError",
                     "RefreshWithMFAUnsupportedError", "PendingAuthorizationExpiredError", "CredentialRetrievalError",
                     "LoginRefreshRequired", "LoginTokenLoadError"))
# fmt: on
_ENCODED = re.compile(r"Encoded authorization failure message: (\S+)")
_ACTION = re.compile(r"perform(?:ing)?:? ([a-z0-9-]+:[A-Za-z]+)")
DENIED = (
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedAccess",
    "AuthorizationError",
    "403",
)


def code(error: BaseException) -> str:
    """The code that the service gave; empty if none came."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def login(profile: str) -> str:
    """The command that renews credentials."""
    if profile:
        return f"Log in again: `aws sso login --profile {profile}`."
    return "Log in again (`aws sso login`), or renew the credentials in the environment, and set the clock right."


def translate(error: BaseException, call: str, *, region: str = "", profile: str = "") -> ElsewhereError:
    """Ours for what botocore raised during `call`, such as `ec2:RunInstances`."""
    name, kind = type(error).__name__, code(error)
    where = f"{call} in {region}" if region else call
    if kind:
        return _of_code(error, kind, call, where, profile)
    if name in _LOGINS:
        return CredentialsExpired(f"the AWS credentials have run out ({_said(error)})", hint=login(profile))
    if name in ("NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"):
        return AccessDenied("there are no AWS credentials", hint="`aws configure sso` or `aws configure` sets them up; "
                            "`profile:` of the place names those to use.")  # fmt: skip
    if name in ("ProfileNotFound", "ConfigParseError", "ConfigNotFound", "InvalidConfigError", "InvalidRegionError"):
        return ConfigError(f"aws: {_said(error)}", hint="`aws configure list-profiles` lists the profiles.")
    if name in ("ParamValidationError", "UnknownParameterError", "MissingParametersError"):
        return InternalError(f"{where}: {_said(error)}")
    return Unreachable(f"no answer to {where}: {_said(error)}", hint=f"Look at your connection. {_AGAIN}")


def _of_code(error: BaseException, kind: str, call: str, where: str, profile: str) -> ElsewhereError:
    response: dict[str, Any] = getattr(error, "response", {})
    message = str(response.get("Error", {}).get("Message", "")) or kind
    if kind in _EXPIRED:
        return CredentialsExpired(f"the AWS credentials have run out ({kind})", hint=login(profile))
    if kind in DENIED:
        return _denied(message, call, where)
    if kind in _KINDS:
        found, hint = _KINDS[kind]
        return found(f"{where}: {_short(message)} ({kind})", hint=hint)
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    if status >= 500:
        return Unreachable(f"no answer to {where}: {_short(message)} ({kind})", hint=_AGAIN)
    if kind.endswith((".NotFound", "NotFoundException")):
        return NotFound(f"{where}: {_short(message)} ({kind})")
    return Refused(f"{where}: {_short(message)} ({kind})", hint="`elsewhere places check` looks at each part.")


def _denied(message: str, call: str, where: str) -> AccessDenied:
    from elsewhere.backends.aws import policy

    named = _ACTION.search(message)
    action = named[1] if named else call
    line = policy.line(action)
    hint = f"Add to your policy: {line}" if line else f"Ask for the right {action}."
    text = _ENCODED.sub("", message).strip()
    return AccessDenied(f"the credentials do not allow {action} ({where}: {_short(text)})", hint=hint)


def encoded(error: BaseException) -> str:
    """The encoded story of a denial, which sts:DecodeAuthorizationMessage may open; empty if there is none."""
    found = _ENCODED.search(str(error))
    return found[1] if found else ""


def _short(text: str) -> str:
    return " ".join(text.split())[:400]


def _said(error: BaseException) -> str:
    return _short(str(error)) or type(error).__name__


@contextmanager
def talking(call: str, *, region: str = "", profile: str = "") -> Iterator[None]:
    """What botocore raises within is raised as ours. Other errors pass."""
    import botocore.exceptions as boto

    try:
        yield
    except (boto.BotoCoreError, boto.ClientError) as error:
        raise translate(error, call, region=region, profile=profile) from error
    except OSError as error:  # a socket that breaks within a body
        raise Unreachable(f"no answer to {call}: {error}", hint=_AGAIN) from error
