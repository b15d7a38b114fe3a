"""The door: who asks (by the credential scope), whether they may, what is ordered to go wrong, and whose it is."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

from elsewhere.sandbox import replies, signature
from elsewhere.sandbox.bill import Meter
from elsewhere.sandbox.faults import Fault, Faults
from elsewhere.sandbox.http import Caller, Request, Response, Service
from elsewhere.sandbox.keys import Key, Keys
from elsewhere.sandbox.policy import Policy

_SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_UNKNOWN = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "s3": ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403),
}
_TOKEN_UNKNOWN = ("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
_THROTTLED = {
    "ec2": ("RequestLimitExceeded", 503),
    "s3": ("SlowDown", 503),
    "sqs": ("RequestThrottled", 400),
}


class Front:
    def __init__(self, keys: Keys, faults: Faults, meter: Meter, cut_off: Callable[[str], bool], log: Path) -> None:
        self.keys, self.faults, self.meter, self.cut_off, self.log = keys, faults, meter, cut_off, log
        self.policy = Policy()
        self.services: dict[str, Service] = {}
        self.otherwise: Service | None = None

    def answer(self, request: Request) -> Response | None:
        """None: the caller gets no answer, whether or not anything was done."""
        request = self._with_caller(request)
        caller = request.caller
        if caller.machine and self.cut_off(caller.machine):
            return None
        refused = self._stranger(request) or (None if caller.machine else self.policy.refusal(request))
        if refused:
            return refused
        action = replies.action(request)
        fault = self.faults.take(caller.service, action)
        if fault and not fault.kind.endswith("-after"):
            return self._fail(request, fault)
        answer = self._serve(request)
        self.meter.count(caller.service, action, request, answer)
        if fault:
            return self._fail(request, fault)
        # A long poll may have waited while the machine was being cut off.
        return None if caller.machine and self.cut_off(caller.machine) else answer

    def _serve(self, request: Request) -> Response:
        service = self.services.get(request.caller.service, self.otherwise)
        assert service is not None
        try:
            return service.answer(request)
        except Exception:
            with self.log.open("a") as file:
                file.write(f"{request.caller.service} {replies.action(request)}\n{traceback.format_exc()}\n")
            return replies.refused(request, "InternalFailure", "The sandbox has made a mistake; see its log.", 500)

    def _with_caller(self, request: Request) -> Request:
        found = _SCOPE.search(_credential(request.headers, request.query))
        if found is None:
            return replace(request, caller=Caller(service="s3" if request.method != "POST" else ""))
        access, region, service = found.groups()
        key = self.keys.find(access)
        return replace(request, caller=Caller(access, key.machine if key else "", region, service))

    def _stranger(self, request: Request) -> Response | None:
        caller = request.caller
        if not caller.access_key:
            if caller.service == "s3":
                return replies.refused(request, "AccessDenied", "Access Denied", 403)
            return replies.refused(
                request, "MissingAuthenticationToken", "Request is missing Authentication Token", 403
            )
        key = self.keys.find(caller.access_key)
        if key is None:
            return replies.refused(request, *_UNKNOWN.get(caller.service, _TOKEN_UNKNOWN))
        if key.expired:
            code = "ExpiredToken" if caller.service in ("s3", "sts") else "ExpiredTokenException"
            return replies.refused(request, code, "The security token included in the request is expired", 403)
        return self._forged(request, key)

    def _forged(self, request: Request, key: Key) -> Response | None:
        """Not of S3, whose bodies may be unsigned, nor of STS, which says it in its own words."""
        service = request.caller.service
        if service in ("s3", "sts"):
            return None
        fault = signature.fault(request, key)
        if fault is None:
            return None
        return replies.refused(request, *(_UNKNOWN["ec2"] if service == "ec2" else (*fault, 403)))

    def _fail(self, request: Request, fault: Fault) -> Response | None:
        if fault.kind.startswith("hang"):
            self.faults.hang()
        if fault.kind.startswith(("lose", "hang")):
            return None
        if fault.kind.startswith("error"):
            return replies.refused(request, "InternalError", "An internal error has occurred", 500)
        if fault.kind == "throttle":
            code, status = _THROTTLED.get(request.caller.service, ("ThrottlingException", 400))
            return replies.refused(request, code, "Request limit exceeded.", status)
        return replies.refused(request, fault.code or "UnauthorizedOperation", "Refused by an order to the sandbox")


def _credential(headers: Mapping[str, str], query: str) -> str:
    signed = headers.get("authorization", "")
    if signed.startswith("AWS4-HMAC-SHA256") or "X-Amz-Credential" not in query:
        return signed
    return "Credential=" + parse_qs(query).get("X-Amz-Credential", [""])[0]
