"""What the sandbox's server and its services say to each other: one request, one answer, and who asks.

Plain data; how they travel is the server's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key signed a request, by its credential scope. `machine`: the instance it was given to; empty: the user."""

    access_key: str = ""
    machine: str = ""
    region: str = "us-east-1"
    service: str = ""
    """As the credential scope names it: ec2, sqs, s3, sts, ssm, pricing."""


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` in lower case; `query` as it came, without the question mark."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller = field(default_factory=Caller)
    peer: str = ""
    """The address that it came from."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """One API of the sandbox. Called on one thread per connection; a long poll waits within `answer`."""

    def answer(self, request: Request) -> Response: ...

    def close(self) -> None:
        """Let everybody who waits go. Twice: harmless."""
        ...
