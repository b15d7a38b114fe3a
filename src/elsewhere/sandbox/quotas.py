"""Service Quotas: the quotas of vCPUs that RunInstances holds to, to be read. They are changed by `sandbox quota`."""

from __future__ import annotations

import json
from typing import Any

from elsewhere.sandbox import replies
from elsewhere.sandbox.ec2.limits import QUOTAS, Limits
from elsewhere.sandbox.fallback import ACCOUNT
from elsewhere.sandbox.http import Request, Response

_JSON = {"content-type": "application/x-amz-json-1.1"}


class ServiceQuotas:
    """A Service."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def answer(self, request: Request) -> Response:
        try:
            asked = json.loads(request.body or b"{}")
        except ValueError as error:
            return replies.refused(request, "IllegalArgumentException", str(error))
        action, service = replies.action(request), asked.get("ServiceCode", "")
        region = request.caller.region
        if action in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas"):
            names = QUOTAS if service == "ec2" else {}
            return _reply({"Quotas": [self._quota(name, region) for name in names]})
        if action not in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
            return replies.refused(request, "UnsupportedOperation", "Quotas of the sandbox: `elsewhere sandbox quota`.")
        name = next((name for name, code in QUOTAS.items() if code == asked.get("QuotaCode")), None)
        if service != "ec2" or name is None:
            return replies.refused(
                request, "NoSuchResourceException", "The request failed because there is no such quota."
            )
        return _reply({"Quota": self._quota(name, region)})

    def close(self) -> None:
        pass

    def _quota(self, name: str, region: str) -> dict[str, Any]:
        kind = name.removesuffix("-spot")
        spot = name.endswith("-spot")
        what = "Standard (A, C, D, H, I, M, R, T, Z)" if kind == "standard" else kind.upper()
        code = QUOTAS[name]
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": f"All {what} Spot Instance Requests" if spot else f"Running On-Demand {what} instances",
            "Value": self.limits.quotas[name],
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def _reply(content: dict[str, Any]) -> Response:
    return Response(200, json.dumps(content).encode(), _JSON)
