"""Logins to channels of conda: by reference in the settings, or where `rattler auth login` has put them in a file.

They are used from here alone, for the index and for the packages, and stand in no address: what travels are packages.
The file is rattler's own (RATTLER_AUTH_FILE, ~/.rattler/credentials.json): host, perhaps `*.host` -> how to log in.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from elsewhere.config.secret import revealed
from elsewhere.errors import ConfigError

FILE = "RATTLER_AUTH_FILE"
_TOKENS = "anaconda.org"
"""The host whose tokens stand in paths; others take them in a header."""
_one_at_a_time = threading.Lock()
Logins = Mapping[str, Mapping[str, Any]]


def read(references: Mapping[str, str]) -> Logins:
    """All that are known: those of the file, and over them these, by host, of whatever port, which is how rattler knows
    them. ConfigError: a secret is not to be had."""
    named = {host.partition(":")[0]: text for host, text in revealed(references).items()}
    return {**_of_file(), **{host: _login(host, text) for host, text in named.items()}}


@contextmanager
def shown(logins: Logins) -> Iterator[None]:
    """While inside, rattler knows them; by a file that only we can read."""
    if not logins:
        yield
        return
    with _one_at_a_time, tempfile.TemporaryDirectory() as folder:
        path, before = Path(folder) / "logins.json", os.environ.get(FILE)
        path.touch(0o600)
        path.write_text(json.dumps(logins))
        os.environ[FILE] = str(path)
        try:
            yield
        finally:
            if before is None:
                del os.environ[FILE]
            else:
                os.environ[FILE] = before


def request(url: str, logins: Logins) -> tuple[str, dict[str, str]] | None:
    """(address, headers) by which what lies at `url` is fetched; None: no login is known for its host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    wild = [f"*.{host.split('.', k)[-1]}" for k in range(1, host.count(".") + 1)]
    login = next((logins[name] for name in (host, *wild) if name in logins), None)
    if login is None:
        return None
    if token := login.get("CondaToken"):
        return parts._replace(path=f"/t/{token}{parts.path}").geturl(), {}
    if token := login.get("BearerToken"):
        return url, {"Authorization": f"Bearer {token}"}
    basic = login.get("BasicHTTP") or login.get("BasicHttp") or {}
    words = f"{basic.get('username', '')}:{basic.get('password', '')}".encode()
    return url, {"Authorization": f"Basic {base64.b64encode(words).decode()}"}


def _login(host: str, text: str) -> Mapping[str, Any]:
    """`user:password`, or a token."""
    user, colon, password = text.partition(":")
    if colon:
        return {"BasicHTTP": {"username": user, "password": password}}
    return {"CondaToken" if host == _TOKENS or host.endswith(f".{_TOKENS}") else "BearerToken": text}


def _of_file() -> Logins:
    path = Path(os.environ.get(FILE) or Path.home() / ".rattler" / "credentials.json")
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"the logins in {path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}
