"""Is this machine about to be taken away? Asked of its place every few seconds, by a thread of its own.

Each scheme is one question to the machine's own metadata service; an answer that is late or odd is no notice.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from elsewhere.errors import UsageError

EVERY = 5.0
"""Seconds; as AWS advises for spot/instance-action."""
SHORTEST = timedelta(0)
Ask = Callable[[], "tuple[str, datetime] | None"]
"""(why, until when) once it is so; None: not so."""


class Watch:
    """Asks until it is told, then tells once. `told(why, left)` is called on its thread."""

    def __init__(self, ask: Ask, told: Callable[[str, timedelta], None], every: float = EVERY) -> None:
        self._ask, self._told, self._every = ask, told, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notice", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Twice: harmless. Does not wait for an answer that is on its way."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            found = self._ask()
            if found is not None:
                why, until = found
                self._told(why, max(SHORTEST, until - datetime.now(UTC)))
                return
            self._over.wait(self._every)


def asker(scheme: str) -> Ask:
    """The question of a scheme. UsageError: there is none of that name."""
    if scheme not in _SCHEMES:
        raise UsageError(f"{scheme!r} is no way to hear of a preemption", hint=f"there are: {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme]()


class Ec2:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""

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


_SCHEMES: dict[str, Callable[[], Ask]] = {"ec2": Ec2}
