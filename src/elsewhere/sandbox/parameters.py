"""SSM: the public parameters that name the newest images of Ubuntu and of drivers; all else of SSM is moto's."""

from __future__ import annotations

import json
from typing import Any

from elsewhere.sandbox import images, replies
from elsewhere.sandbox.fallback import Moto
from elsewhere.sandbox.http import Request, Response

_JSON = {"content-type": "application/x-amz-json-1.1"}
_OURS = ("/aws/service/canonical/", "/aws/service/deeplearning/")


class Parameters:
    """A Service."""

    def __init__(self, moto: Moto) -> None:
        self.moto = moto
        self._values = images.parameters()

    def answer(self, request: Request) -> Response:
        action = replies.action(request)
        try:
            asked = json.loads(request.body or b"{}") if action in ("GetParameter", "GetParameters") else {}
        except ValueError:
            return self.moto.answer(request)
        if str(asked.get("Name", "")).startswith(_OURS):
            return self._one(request, asked["Name"])
        if any(str(name).startswith(_OURS) for name in asked.get("Names", ())):
            known = [name for name in asked["Names"] if name in self._values]
            unknown = [name for name in asked["Names"] if name not in self._values]
            rows = [self._row(name, request.caller.region) for name in known]
            return _reply({"Parameters": rows, "InvalidParameters": unknown})
        return self.moto.answer(request)

    def close(self) -> None:
        pass

    def _one(self, request: Request, name: str) -> Response:
        if name not in self._values:
            return replies.refused(request, "ParameterNotFound", f"Parameter {name} not found.")
        return _reply({"Parameter": self._row(name, request.caller.region)})

    def _row(self, name: str, region: str) -> dict[str, Any]:
        return {
            "ARN": f"arn:aws:ssm:{region}::parameter{name}",
            "DataType": "aws:ec2:image",
            "LastModifiedDate": 1794297600.0,
            "Name": name,
            "Type": "String",
            "Value": self._values[name],
            "Version": 1,
        }


def _reply(content: dict[str, Any]) -> Response:
    return Response(200, json.dumps(content).encode(), _JSON)
