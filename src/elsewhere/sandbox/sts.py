"""STS: who a caller is, believed only on a signature that was checked. Machines prove themselves by it."""

from __future__ import annotations

import uuid

from elsewhere.sandbox import replies, signature
from elsewhere.sandbox.fallback import ACCOUNT, Moto
from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.keys import Key, Keys

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Sts:
    """A Service. What it does not know itself is moto's."""

    def __init__(self, keys: Keys, moto: Moto) -> None:
        self.keys, self.moto = keys, moto

    def answer(self, request: Request) -> Response:
        key = self.keys.find(request.caller.access_key)
        if key is None:
            said = "The security token included in the request is invalid."
            return replies.refused(request, "InvalidClientTokenId", said, 403)
        fault = signature.fault(request, key)
        if fault:
            return replies.refused(request, *fault, 403)
        if replies.action(request) != "GetCallerIdentity":
            return self.moto.answer(request)
        arn, user = _who(key)
        text = (
            f'<GetCallerIdentityResponse xmlns="{_NAMESPACE}"><GetCallerIdentityResult><Arn>{arn}</Arn>'
            f"<UserId>{user}</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>"
            f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        )
        return Response(200, text.encode(), {"content-type": "text/xml"})

    def close(self) -> None:
        pass


def _who(key: Key) -> tuple[str, str]:
    if key.machine:
        return (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/{key.role}/{key.machine}",
            f"AROA{key.access_key[4:]}:{key.machine}",
        )
    return f"arn:aws:iam::{ACCOUNT}:user/sandbox", "AIDA" + key.access_key[4:]
