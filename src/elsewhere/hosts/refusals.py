"""Why ssh began no command, in a sentence, with what to do: what it said, and what it knows of keys without a call."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from elsewhere.errors import AccessDenied, NotFound, PlaceError, Unreachable

CHANGED = "find out why before you connect"
_LIMIT = 10.0
_HAS_CHANGED, _UNKNOWN = "REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed"
_DENIED, _NOWHERE = "Permission denied", "Could not resolve hostname"


def is_own(said: str) -> bool:
    """Is this of ssh itself, whatever it ended with?"""
    return any(word in said for word in (_HAS_CHANGED, _UNKNOWN, _DENIED, _NOWHERE))


def why(ssh: Sequence[str], name: str, said: str, last: str) -> PlaceError:
    """`ssh`: the words before the name, as a user types them. `last`: the line of what it said that is shown."""
    typed = shlex.join([*ssh, name])
    if _HAS_CHANGED in said:
        key, remedy = changed(said, name)
        return AccessDenied(f"{name} shows another host key{key} than before",
                            hint=f"{CHANGED}; if it is right: {remedy}")  # fmt: skip
    if _UNKNOWN in said:
        return AccessDenied(f"the host key of {name} is not known here",
                            hint=f"type `{typed}` once, compare the key and accept it")  # fmt: skip
    if _DENIED in said:
        user, keys = offered(ssh, name)
        who = f"{user} in with the keys that were offered ({keys})" if user else "us in"
        return AccessDenied(
            f"{name} does not let {who}: {last}",
            hint=f"`{typed} true` must work without a question (ssh-add, IdentityFile); if it asks one, "
            "`elsewhere places check PLACE` on a terminal lets you answer it once",
        )
    if _NOWHERE in said:
        return NotFound(f"there is no host {name}: {last}",
                        hint="names are those of ~/.ssh/config, or of your network")  # fmt: skip
    return Unreachable(f"{name} cannot be reached: {last}",
                       hint=f"is it up, and is it the right name and port? `{typed} true` tries the same")  # fmt: skip


def offered(ssh: Sequence[str], name: str) -> tuple[str, str]:
    """(user, keys) for a sentence; both are empty where that is not to be had. `ssh`: the words before the name."""
    settings: dict[str, list[str]] = {}
    for line in _said([*ssh, "-G", "--", name]).splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    if not settings:
        return "", ""
    named = settings.get("identityfile", [])
    files = [path for path in named if Path(path).expanduser().is_file()]
    alone = settings.get("identitiesonly") == ["yes"]
    held = 0 if alone or "SSH_AUTH_SOCK" not in os.environ else len(_said(["ssh-add", "-l"]).splitlines())
    keys = [*files, *([f"{held} of the agent's keys"] if held > 1 else ["the agent's key"] * held)]
    none = f"none, as there is no {named[0]}" if len(named) == 1 else "none"
    return settings.get("user", [""])[0], ", ".join(keys) or none


def changed(said: str, name: str) -> tuple[str, str]:
    """Of a host key that is another than before: its fingerprint for a sentence, and what forgets the old one."""
    key = re.search(r"key sent by the remote host is\s+(\S+?)\.?\s", said)
    host = re.search(r"Host key for (\S+) has changed", said)
    file = re.search(r"Offending \S+ key in (.+):\d+", said)
    named = ["-f", file[1].strip()] if file and not file[1].strip().endswith("/.ssh/known_hosts") else []
    return f" ({key[1]})" if key else "", shlex.join(["ssh-keygen", *named, "-R", host[1] if host else name])


def _said(words: Sequence[str]) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=_LIMIT, check=False)  # fmt: skip
        return done.stdout if done.returncode == 0 else ""
    return ""
