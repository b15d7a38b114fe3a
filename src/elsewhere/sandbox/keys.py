"""Who may call: the user's dummy key, and the temporary keys that machines with a role are given.

Secrets never leave memory but to whom they belong: the user through `sandbox env`, a machine through its metadata.
"""

from __future__ import annotations

import secrets
import string
import threading
import time
from dataclasses import dataclass, replace

_LETTERS = string.ascii_uppercase + string.digits
_VALID = 6 * 3600
_RENEWED = 3600


@dataclass(frozen=True, slots=True)
class Key:
    access_key: str
    secret: str
    token: str = ""
    machine: str = ""
    role: str = ""
    issued: float = 0.0
    expires: float = 0.0
    """By everybody's clock: the SDKs renew by theirs. 0: never."""

    @property
    def expired(self) -> bool:
        return bool(self.expires) and time.time() > self.expires


class Keys:
    def __init__(self, user: Key | None = None) -> None:
        self.user = user or Key("AKIA" + _letters(16), secrets.token_urlsafe(30))
        self._known = {self.user.access_key: self.user}
        self._newest: dict[str, Key] = {}
        self._lock = threading.Lock()

    def of_machine(self, machine: str, role: str) -> Key:
        """The machine's key; another one when less than an hour of it is left."""
        now = time.time()
        with self._lock:
            key = self._newest.get(machine)
            if key is None or key.expires - now < _RENEWED:
                words = secrets.token_urlsafe(30), secrets.token_urlsafe(96)
                key = Key("ASIA" + _letters(16), *words, machine, role, now, now + _VALID)
                self._newest[machine] = self._known[key.access_key] = key
        return key

    def find(self, access_key: str) -> Key | None:
        with self._lock:
            return self._known.get(access_key)

    def expire(self) -> None:
        """The user's key is good no longer, as that of somebody whose login has run out. Again: harmless."""
        with self._lock:
            self.user = self._known[self.user.access_key] = replace(self.user, expires=1.0)

    def renew(self, new: bool = False) -> Key:
        """The user has logged in again: the same key is good, or a `new` one, and the old one stays what it is."""
        with self._lock:
            same = replace(self.user, expires=0.0)
            self.user = Key("AKIA" + _letters(16), secrets.token_urlsafe(30)) if new else same
            self._known[self.user.access_key] = self.user
            return self.user

    def forget(self, machine: str) -> None:
        """A machine is gone: as in the cloud, what was given to it stays good until it expires, but nothing new is."""
        with self._lock:
            self._newest.pop(machine, None)


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
