"""User data as cloud-init reads it: plain or gzipped, one script or several in a MIME archive. Pure."""

from __future__ import annotations

import email
import zlib

LIMIT = 16384
"""Bytes of raw user data that EC2 takes."""
_UNPACKED = 64 << 20


def scripts(data: bytes) -> tuple[list[bytes], list[str]]:
    """The scripts to run, in order, and a sentence for each part that the sandbox's machines do not run."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(31).decompress(data, _UNPACKED)
        except zlib.error as error:
            return [], [f"the user data looks like gzip and is not: {error}"]
    if not data.strip():
        return [], []
    if _is_archive(data):
        return _parts(data)
    return ([data], []) if data.startswith(b"#!") else ([], [_complaint(data)])


def _is_archive(data: bytes) -> bool:
    head = data[:200].lower()
    return head.startswith((b"content-type: multipart", b"mime-version:"))


def _parts(data: bytes) -> tuple[list[bytes], list[str]]:
    found, complaints = list[bytes](), list[str]()
    for part in email.message_from_bytes(data).walk():
        if part.is_multipart():
            continue
        text = part.get_payload(decode=True)
        if not isinstance(text, bytes) or not text.strip():
            continue
        if text.startswith(b"#!"):
            found.append(text)
        else:
            complaints.append(_complaint(text))
    return found, complaints


def _complaint(text: bytes) -> str:
    first = text.split(b"\n", 1)[0][:60].decode(errors="replace")
    return f"not run: user data that begins with {first!r}; machines of the sandbox run scripts, which begin with #!"
