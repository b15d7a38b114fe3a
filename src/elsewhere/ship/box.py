"""Boxes: bytes that lie where others may write, closed with a key that only the job's owner has.

What was changed, made by somebody else, or meant for another purpose does not open. Nothing here reads or writes files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from elsewhere.errors import Refused
from elsewhere.ship import seal

KEY, NONCE = 32, 12
KEYS = "keys/"
"""Where a job's own secrets lie in its store: a box for each key of the user that may go on with it."""
_PURPOSE = "keys of jobs"


class Box:
    """Closes and opens for one job. The nonce is drawn: under one key far fewer than 2^32 are closed."""

    def __init__(self, key: bytes, job: str) -> None:
        self._cipher, self._job = ChaCha20Poly1305(key), job

    def close(self, purpose: str, data: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, data, self._about(purpose))

    def open(self, purpose: str, closed: bytes) -> bytes:
        """Refused: it was not closed with this key for this purpose, or is not as it was."""
        try:
            return self._cipher.decrypt(closed[:NONCE], closed[NONCE:], self._about(purpose))
        except (InvalidTag, ValueError):
            raise Refused(f"{purpose} of {self._job} was not written by the owner of the job") from None

    def _about(self, purpose: str) -> bytes:
        return f"elsewhere box 1 {self._job} {purpose}".encode()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of one job: `seal` is known to its machines too, `log` to nobody but its owner."""

    seal: bytes
    log: bytes


def keys_of(public: bytes) -> str:
    """Under which key of the store the box for the owner of this public key lies."""
    return f"{KEYS}{sha256(public).hexdigest()[:32]}"


def closed(secrets: Secrets, job: str) -> bytes:
    """For whoever has our private key."""
    return Box(seal.derived(_PURPOSE), job).close("keys", secrets.seal + secrets.log)


def opened(data: bytes, job: str) -> Secrets:
    """Refused: it was not closed with our private key, for this job."""
    both = Box(seal.derived(_PURPOSE), job).open("keys", data)
    return Secrets(both[:KEY], both[KEY:])
