"""What the user of the sandbox may not do: actions by their names in a policy, `ec2:RunInstances`, `s3:*`.

All that is not forbidden is allowed. Machines are not held to it: they have a role of their own.
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase

from elsewhere.sandbox import replies
from elsewhere.sandbox.fallback import ACCOUNT
from elsewhere.sandbox.http import Request, Response

_S3 = {
    "HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket", "HeadObject": "GetObject", "PutBucket": "CreateBucket",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}  # fmt: skip
"""Of requests of S3 and SQS, the action that a policy knows them by, where that is another word."""


class Policy:
    def __init__(self) -> None:
        self._denied: list[str] = []
        self._lock = threading.Lock()

    def deny(self, action: str) -> None:
        with self._lock:
            self._denied.append(action)

    def allow(self, action: str) -> None:
        """Take back what was denied in these words; all of it: `*`."""
        with self._lock:
            self._denied = [] if action == "*" else [one for one in self._denied if one != action]

    def denied(self) -> list[str]:
        with self._lock:
            return list(self._denied)

    def refusal(self, request: Request) -> Response | None:
        """The answer to who may not do this; None: they may."""
        service = request.caller.service
        asked = f"{service}:{_in_policies(service, replies.action(request))}"
        if not any(fnmatchcase(asked, one) for one in self.denied()):
            return None
        code = "UnauthorizedOperation" if service == "ec2" else "AccessDenied"
        said = f"User: arn:aws:iam::{ACCOUNT}:user/sandbox is not authorized to perform: {asked}"
        return replies.refused(request, code, said, 403)


def _in_policies(service: str, action: str) -> str:
    if service == "sqs":
        return action.removesuffix("Batch")
    return _S3.get(action, action) if service == "s3" else action
