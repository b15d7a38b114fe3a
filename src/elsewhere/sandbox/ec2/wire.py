"""EC2's query protocol: flat parameters to nested values, nested values to XML, and errors as EC2 words them.

It knows no action; nothing of machines may enter.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from elsewhere.sandbox.http import Response

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_XML = {"content-type": "text/xml;charset=UTF-8"}
_STATUS = {
    "RequestLimitExceeded": 503,
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "DryRunOperation": 412,
    "UnauthorizedOperation": 403,
    "AuthFailure": 401,
}


class Refusal(Exception):
    """The API says no: `code` as EC2 names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def read(body: bytes, query: str) -> dict[str, Any]:
    """`Filter.1.Value.2=x` becomes {"Filter": [{"Value": [.., "x"]}]}."""
    pairs = parse_qsl(query, keep_blank_values=True) + parse_qsl(body.decode(), keep_blank_values=True)
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *path, last = name.split(".")
        branch = tree
        for word in path:
            branch = branch.setdefault(word, {})
            if not isinstance(branch, dict):
                raise Refusal("MalformedQueryString", f"The parameter {name} is a value and a structure at once")
        branch[last] = value
    return {name: _listed(value) for name, value in tree.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(name.isdigit() for name in value):
        return [_listed(value[name]) for name in sorted(value, key=int)]
    return {name: _listed(item) for name, item in value.items()}


def answer(action: str, content: Mapping[str, Any]) -> Response:
    text = _element("requestId", str(uuid.uuid4())) + "".join(_element(name, item) for name, item in content.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{_NAMESPACE}">{text}</{action}Response>'
    return Response(200, body.encode(), _XML)


def refused(code: str, message: str) -> Response:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{escape(code)}</Code>'
        f"<Message>{escape(message)}</Message></Error></Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    )
    return Response(_STATUS.get(code, 400), body.encode(), _XML)


def _element(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return f"<{name}>" + "".join(_element(key, item) for key, item in value.items()) + f"</{name}>"
    if isinstance(value, list):
        return f"<{name}>" + "".join(_element("item", item) for item in value) + f"</{name}>"
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"<{name}>{escape(str(value))}</{name}>"


def true(value: Any) -> bool:
    return str(value).lower() == "true"


def listed(value: Any) -> list[Any]:
    """What may be one or many, as many."""
    return value if isinstance(value, list) else [] if value is None else [value]
