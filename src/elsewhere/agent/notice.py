"""Is this machine about to be taken away, or called? Asked of its place every few seconds, by a thread of its own.

Each scheme asks the machine's own metadata service, which costs nothing; an answer that is late or odd is none.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from elsewhere.aws import RING
from elsewhere.errors import UsageError

EVERY = 2.0
"""Seconds; AWS advises at most 5 for spot/instance-action."""
SHORTEST = timedelta(0)


class Asker(Protocol):
    def __call__(self) -> tuple[str, datetime] | None:
        """(why, until when) once the machine is about to be taken away; None: it is not."""
        ...

    def ring(self) -> str:
        """A word that changes whenever the machine is called; empty if it never was, or there is no answer."""
        ...


class Watch:
    """Asks until it is told, then tells once. On its thread: `told(why, left)`, and `called()` for each call."""

    def __init__(
        self,
        ask: Asker,
        told: Callable[[str, timedelta], None],
        called: Callable[[], None] = lambda: None,
        every: float = EVERY,
    ) -> None:
        self._ask, self._told, self._called, self._every = ask, told, called, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notice", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Twice: harmless. Does not wait for an answer that is on its way."""
        self._over.set()

    def _run(self) -> None:
        last = ""
        while not self._over.is_set():
            if (ring := self._ask.ring()) not in ("", last):
                last = ring
                self._called()
            found = self._ask()
            if found is not None:
                why, until = found
                self._told(why, max(SHORTEST, until - datetime.now(UTC)))
                return
            self._over.wait(self._every)


def asker(scheme: str) -> Asker:
    """The question of a scheme. UsageError: there is none of that name."""
    if scheme not in _SCHEMES:
        raise UsageError(f"{scheme!r} is no way to hear of a preemption", hint=f"there are: {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme]()


class Ec2:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html and, for calls,
    work-with-tags-in-IMDS.html: a tag of a running machine shows there as soon as it is set."""

    def __init__(self) -> None:
        self.base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
        self._token = ""

    def __call__(self) -> tuple[str, datetime] | None:
        try:
            answer = json.loads(self._get("spot/instance-action"))
            until = datetime.fromisoformat(str(answer["time"]).replace("Z", "+00:00"))
            return f"spot {answer['action']}", until if until.tzinfo else until.replace(tzinfo=UTC)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._token = ""
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def ring(self) -> str:
        try:
            return self._get(f"tags/instance/{RING}").decode()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._token = ""
            return ""
        except (OSError, ValueError):
            return ""

    def _get(self, path: str) -> bytes:
        if not self._token:
            asked = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            self._token = self._fetch("api/token", asked, "PUT").decode()
        return self._fetch(f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _fetch(self, path: str, headers: dict[str, str], method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.base}/latest/{path}", headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine's own
        with opener.open(request, timeout=3) as answer:
            return bytes(answer.read(65536))


_SCHEMES: dict[str, Callable[[], Asker]] = {"ec2": Ec2}
