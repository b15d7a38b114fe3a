"""Labels of a launch as tags of a cloud, and back. Pure.

Values keep every character: what tags do not take in all services is written as `=` and two hexadecimal digits a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from elsewhere.errors import Refused

PREFIX = "elsewhere:"
SIGNATURE = ("job", "launch", "owner", "expiry")
"""What every machine of ours bears; what lacks one of these is never stopped from here."""
_ALLOWED = re.compile(r"[A-Za-z0-9 +\-._:/@]")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")


def to_tags(labels: Mapping[str, str], extra: Mapping[str, str], name: str = "") -> list[dict[str, str]]:
    """Ours under our prefix, then the user's own. Refused if one is too long."""
    tags = {PREFIX + escape(key): escape(value) for key, value in labels.items()}
    for key, value in tags.items():
        if len(value) > 256 or len(key) > 128:
            raise Refused(f"the label {key} is too long for a tag ({len(value)} characters)", hint="256 at most.")
    tags.update(extra)
    if name and "Name" not in tags:
        tags["Name"] = name[:256]
    if len(tags) > 50:
        raise Refused(f"{len(tags)} tags are too many", hint="A machine has 50 at most; set fewer in `tags:`.")
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_tags(tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Our labels among the tags of a thing."""
    found = {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags}
    return {unescape(k.removeprefix(PREFIX)): unescape(v) for k, v in found.items() if k.startswith(PREFIX)}


def signed(labels: Mapping[str, str]) -> bool:
    """Whether the full signature is there."""
    return all(labels.get(name) for name in SIGNATURE)


def escape(text: str) -> str:
    done = "".join(c if _ALLOWED.fullmatch(c) else "".join(f"={b:02X}" for b in c.encode()) for c in text)
    # blanks at the ends are cut off by some services
    core = done.strip(" ")
    before, after = len(done) - len(done.lstrip(" ")), len(done) - len(done.rstrip(" "))
    return "=20" * before + core + "=20" * after if core else "=20" * len(done)


def unescape(text: str) -> str:
    raw = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text) if text.isascii() else ""
    try:
        return raw.encode("latin-1").decode() if text.isascii() else text
    except UnicodeError:
        return text  # not written by us
