"""Clients of AWS's services: made when first needed, one for each service, region and way of asking again.

Clients may be used by many threads at once; sessions may not, so that one is made under a lock.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from elsewhere import aws
from elsewhere.backends.aws.errors import encoded, talking
from elsewhere.backends.aws.settings import AwsSettings
from elsewhere.errors import AccessDenied, ConfigError, CredentialsExpired

FALLBACK = "us-east-1"
ANSWER, CONNECT = 30, 5
"""Seconds that a call waits."""
_MOST = 8
_shared: dict[tuple[str, tuple[tuple[str, str], ...]], Clients] = {}
_lock = threading.Lock()


class Clients:
    """What a place's calls go through. After credentials have run out, the next call looks for new ones."""

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._account = ""
        self._there: set[str] = set()
        """Regions that are known to exist."""

    def get(self, service: str, region: str = "", *, once: bool = False) -> Any:
        """The client. `once`: a call is made a single time, so that its answer says what became of it."""
        region = region or self.region
        key = (service, region, once)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, region, once)
            return self._clients[key]

    @property
    def region(self) -> str:
        """Where machines are launched."""
        if self.settings.region:
            return self.settings.region
        with self._lock:
            return str(self._open().get_config_variable("region") or FALLBACK)

    @property
    def regions(self) -> tuple[str, ...]:
        """Where we look for our own: `region` first."""
        return tuple(dict.fromkeys((self.region, *self.settings.regions)))

    @property
    def account(self) -> str:
        """The number of the account that these credentials are of. Asked once."""
        if not self._account:
            with self.talking("sts:GetCallerIdentity"):
                self._account = str(self.get("sts").get_caller_identity()["Account"])
        return self._account

    @contextmanager
    def talking(self, call: str, region: str = "") -> Iterator[None]:
        """Calls within raise our errors only."""
        try:
            with talking(call, region=region, profile=self.settings.profile):
                yield
        except CredentialsExpired:
            self.forget()
            raise
        except AccessDenied as error:
            raise self._explained(error) from error.__cause__

    def forget(self) -> None:
        """Look for credentials anew at the next call."""
        with self._lock:
            self._session, self._account = None, ""
            self._clients.clear()

    def world(self) -> str:
        """A name for what these credentials see: caches of one account or sandbox never serve another."""
        with self._lock:
            session = self._open()
            profile = session.profile or "default"
        ends = [os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2")]
        return hashlib.sha256("\0".join([str(profile), *ends]).encode()).hexdigest()[:12]

    def secrets(self) -> tuple[str, ...]:
        """What must never stand in a boot text."""
        with self._lock, talking("credentials", profile=self.settings.profile):
            found = self._open().get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        return tuple(word for word in (frozen.secret_key, frozen.token) if word) if frozen else ()

    def _open(self) -> Any:
        if self._session is None:
            with talking("credentials", profile=self.settings.profile):
                self._session = aws.opened(self.settings.profile)
        return self._session

    def _make(self, service: str, region: str, once: bool) -> Any:
        from botocore.config import Config

        session = self._open()
        if region not in self._there:
            _known(session, region)
            self._there.add(region)
        retries = {"mode": "standard", "total_max_attempts": 1 if once else 3}
        config = Config(
            connect_timeout=CONNECT, read_timeout=ANSWER, retries=retries, user_agent_extra="elsewhere",
            max_pool_connections=20,
        )  # fmt: skip
        with talking(service, region=region, profile=self.settings.profile):
            return session.create_client(service, region_name=region, config=config)

    def _explained(self, error: AccessDenied) -> AccessDenied:
        """With the story of the denial, where the credentials may read it."""
        sealed = encoded(error.__cause__) if error.__cause__ else ""
        if not sealed:
            return error
        try:
            with talking("sts:DecodeAuthorizationMessage"):
                opened = self.get("sts").decode_authorization_message(EncodedMessage=sealed)["DecodedMessage"]
        except Exception:
            return error  # it is the denial that matters
        return AccessDenied(f"{error.message}; {story(opened)}" if story(opened) else error.message, hint=error.hint)


def shared(settings: AwsSettings) -> Clients:
    """Those of every place of this process that has these settings, for as long as the environment says the same: what
    they know of a service is read once. Twice: the same."""
    told = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith("AWS_") or pair[0] == "HOME"))
    with _lock:
        found = _shared.pop((repr(settings), told), None) or Clients(settings)
        _shared[repr(settings), told] = found
        if len(_shared) > _MOST:
            del _shared[next(iter(_shared))]
    return found


def story(opened: str) -> str:
    """Of a decoded denial: on which thing, and whether a rule forbids it. Empty if it cannot be read."""
    import json

    try:
        found: Mapping[str, Any] = json.loads(opened)
        context = found.get("context", {})
        thing = str(context.get("resource", ""))
    except (ValueError, AttributeError):
        return ""
    why = "a rule forbids it" if found.get("explicitDeny") else "no rule allows it"
    return f"{why} on {thing}" if thing else why


def _known(session: Any, region: str) -> None:
    """ConfigError for a region that does not exist: asking it would only time out."""
    known = [name for part in session.get_available_partitions() for name in session.get_available_regions("ec2", part)]
    if region in known:
        return
    near = difflib.get_close_matches(region, known, 1)
    raise ConfigError(
        f"aws: there is no region {region!r}" + (f"; did you mean {near[0]}?" if near else ""),
        hint="`elsewhere offers --regions` lists them; a region newer than your botocore wants a newer one.",
    )
