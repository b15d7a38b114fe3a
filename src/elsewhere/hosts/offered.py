"""What keys are about, where a host and its user do not let each other in: told by OpenSSH here, without a call."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LIMIT = 10.0


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
