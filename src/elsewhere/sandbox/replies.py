"""A refusal in the words of each protocol: EC2's XML, S3's, the query protocol's, and JSON's. Pure."""

from __future__ import annotations

import json
import uuid
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from elsewhere.sandbox.ec2 import wire
from elsewhere.sandbox.http import Request, Response

_S3 = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "POST": "PostObject", "DELETE": "DeleteObject"}


def refused(request: Request, code: str, message: str, status: int = 400) -> Response:
    """`code` and `message` as the API of the request would say them."""
    service = request.caller.service
    if service == "ec2":
        answer = wire.refused(code, message)
        return Response(status if status != 400 else answer.status, answer.body, answer.headers)
    id = str(uuid.uuid4())
    if service == "s3":
        text = (
            f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message><RequestId>{id}</RequestId></Error>"
        )
        return Response(status, text.encode(), {"content-type": "application/xml"})
    if "x-amz-target" in request.headers:
        body = json.dumps({"__type": code, "message": message}).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code, "x-amzn-requestid": id}
        return Response(status, body, headers)
    text = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        f"</Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
    return Response(status, text.encode(), {"content-type": "text/xml"})


def action(request: Request) -> str:
    """What is asked for, by its API's own name."""
    target = request.headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if request.caller.service == "s3":
        return _s3_action(request)
    for text in (request.query, _form(request)):
        found = parse_qs(text).get("Action")
        if found:
            return found[0]
    return ""


def _s3_action(request: Request) -> str:
    bucket, _, key = request.path.lstrip("/").partition("/")
    words = {word.partition("=")[0] for word in request.query.split("&")}
    if request.method == "POST" and "delete" in words:
        return "DeleteObjects"
    if key:
        part = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        if "uploadId" in words and request.method in part:
            return part[request.method]
        return "CreateMultipartUpload" if "uploads" in words else _S3.get(request.method, "")
    if request.method == "GET":
        return (
            "ListObjectsV2" if bucket and not words & {"location", "versioning", "policy", "tagging"} else "GetBucket"
        )
    return _S3.get(request.method, "").replace("Object", "Bucket")


def _form(request: Request) -> str:
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return request.body[: 1 << 16].decode(errors="replace") if form else ""
