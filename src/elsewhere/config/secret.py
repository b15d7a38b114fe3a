"""Secrets by reference: files say where a secret is kept, and nothing that we print or write shows what it is."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elsewhere.errors import ConfigError, MissingExtra


def is_reference(text: str) -> bool:
    """Whether `text` is `env:NAME`, `file:PATH` or `keyring:service/name`; `file://...` is an address, not a secret."""
    kind, colon, rest = text.partition(":")
    return bool(colon and rest) and kind in ("env", "file", "keyring") and not rest.startswith("//")


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference; `str` and `repr` show only that."""

    reference: str

    def __str__(self) -> str:
        return self.reference

    def reveal(self) -> str:
        """What it is, asked anew each time. ConfigError: it is not where the reference says."""
        kind, _, rest = self.reference.partition(":")
        if kind == "env":
            return _of_environment(rest, self.reference)
        if kind == "file":
            return _of_file(Path(rest).expanduser(), self.reference)
        return _of_keyring(rest, self.reference)


def revealed(secrets: Mapping[str, str]) -> dict[str, str]:
    """What references stand for, by the same names. ConfigError as Secret.reveal."""
    return {name: Secret(reference).reveal() for name, reference in secrets.items()}


def _of_environment(name: str, reference: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ConfigError(f"the secret {reference} is not there: {name} is not set", hint=f"Set it: export {name}=...")
    return value


def _of_file(path: Path, reference: str) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"the secret {reference} cannot be read: {said}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"the secret {reference} can be read by others", hint=f"chmod 600 {path}")
    return text.rstrip("\r\n")


def _of_keyring(name: str, reference: str) -> str:
    service, slash, user = name.partition("/")
    if not slash:
        raise ConfigError(f"the secret {reference} has no name", hint="Write keyring:service/name.")
    try:
        import keyring

        value = keyring.get_password(service, user)
    except ModuleNotFoundError as error:
        if error.name == "keyring":
            raise MissingExtra(
                f"the secret {reference} needs the package keyring, which {sys.executable} has not",
                hint=f"{shlex.quote(sys.executable)} -m pip install keyring",
            ) from error
        raise _unread(reference, error) from error
    except Exception as error:  # whatever the keyring of this machine raises is not our mistake
        raise _unread(reference, error) from error
    if value is None:
        raise ConfigError(
            f"the secret {reference} is not in the keyring",
            hint=f"keyring set {shlex.quote(service)} {shlex.quote(user)}",
        )
    return value


def _unread(reference: str, error: Exception) -> ConfigError:
    said = str(error).partition("\n")[0] or type(error).__name__
    return ConfigError(
        f"the secret {reference} cannot be read: {said}",
        hint="`keyring diagnose` says which keyring is used here; env:NAME and file:PATH need none.",
    )
