"""Signatures: what we send is signed with the user's Ed25519 key, what comes back pickled is sealed with its job's key.

Nothing that was not sealed is ever unpickled. `cryptography` costs 30 ms to import and is needed for signatures alone,
so it may be imported inside functions only; a job on this machine is sealed by HMAC and never pays for it.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.config.home import home, location, unusable
from elsewhere.errors import PayloadError, StateError, UsageError
from elsewhere.slot import values

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DOMAIN = b"elsewhere signature 1\0"
_PUBLIC = 32


def seal(key: bytes, data: bytes) -> bytes:
    """`data` behind its HMAC-SHA256 (32 bytes)."""
    return values.seal(key, data)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What was sealed with `key`. PayloadError if it was not."""
    try:
        return values.unseal(key, sealed)
    except values.Unsealed as error:
        raise PayloadError(f"{error}; it is not opened") from None


def sign(digests: Sequence[bytes]) -> bytes:
    """96 bytes: our public key, and its signature over these digests in this order. The key is made at first use."""
    return sign_with(_private(), digests)


def sign_with(private: Ed25519PrivateKey, digests: Sequence[bytes]) -> bytes:
    """The same with another key: that of a machine, made there."""
    return _raw(private) + private.sign(_message(digests))


def verify(digests: Sequence[bytes], signature: bytes) -> bool:
    """Whether `signature` is over these digests, by our key or by one that we trusted before `rotate` or `import_`."""
    return verify_by(trusted(), digests, signature)


def verify_by(publics: Collection[bytes], digests: Sequence[bytes], signature: bytes) -> bool:
    """The same by one of these public keys alone: for a machine that was told whose job it runs, and has no key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, mark = signature[:_PUBLIC], signature[_PUBLIC:]
    if len(mark) != 64 or public not in publics:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(mark, _message(digests))
    except InvalidSignature:
        return False
    return True


def trusted() -> list[bytes]:
    """The public keys we believe, 32 bytes each, our own first."""
    lines = _trusted_path().read_text().split() if _trusted_path().exists() else []
    return [public(), *(b64decode(line) for line in lines)]


def public() -> bytes:
    """Our public key, 32 bytes."""
    return _raw(_private())


def derived(purpose: str) -> bytes:
    """32 bytes that follow from our private key and nobody without it can know; others for each purpose."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, None, f"elsewhere derived 1 {purpose}".encode()).derive(_private().private_bytes_raw())


def exists() -> bool:
    """Whether there is a key of ours; none is made."""
    return (location() / "key").exists()


def export() -> str:
    """Our private key as PEM (PKCS #8, not encrypted), for `import_` on another machine of yours. Keep it secret."""
    return _pem(_private())


def import_(text: str) -> None:
    """Use this private key from now on; the one before stays trusted for reading. UsageError if it is no such key."""
    new = _parse(text)
    if new is None:
        raise UsageError(
            "this is not an Ed25519 private key in PEM form", hint="Paste what `elsewhere key export` printed."
        )
    _replace(new)


def fresh() -> str:
    """A private key as PEM that is nobody's yet: for a machine that shall sign by itself."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _pem(Ed25519PrivateKey.generate())


def rotate() -> bytes:
    """A new key from now on; the one before stays trusted for reading. Returns the new public key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    new = Ed25519PrivateKey.generate()
    _replace(new)
    return _raw(new)


def _message(digests: Sequence[bytes]) -> bytes:
    return _DOMAIN + b"".join(len(digest).to_bytes(4, "little") + digest for digest in digests)


def _trusted_path() -> Path:
    return home() / "key.trusted"


def _private() -> Ed25519PrivateKey:
    path = home() / "key"
    try:
        text = _read_private(path)
    except FileNotFoundError:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        _create(path, _pem(Ed25519PrivateKey.generate()).encode())
        text = _read_private(path)
        _publish(text)
    found = _parse(text)
    if found is None:
        raise StateError(f"{path} is damaged: it holds no Ed25519 private key", hint="Move it away, or import a copy.")
    return found


def _read_private(path: Path) -> str:
    text = path.read_text("ascii", "replace")
    if path.stat().st_mode & 0o077:
        raise StateError(f"the private key {path} may be read by others", hint=f"chmod 600 {path}, or rotate the key.")
    return text


def _publish(text: str) -> None:
    """key.pub is for people; we derive it ourselves each time."""
    key = _parse(text)
    if key is not None:
        (home() / "key.pub").write_text(b64encode(_raw(key)).decode() + "\n")


def _replace(new: Ed25519PrivateKey) -> None:
    """The old public key is trusted before the new private one stands: a crash between leaves both readable."""
    directory, text = home(), _pem(new)
    fd = os.open(_trusted_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(fd, "wb", buffering=0) as file:
        file.write(b64encode(public()) + b"\n")
        os.fsync(fd)
    part = _part(directory / "key", text.encode())
    part.replace(directory / "key")
    _publish(text)


def _create(path: Path, data: bytes) -> None:
    """Make the file, whole, unless it is there: of two that try at once one wins, and both read the winner's."""
    part = _part(path, data)
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _part(path: Path, data: bytes) -> Path:
    part = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb", buffering=0) as file:
            file.write(data)
            os.fsync(fd)
    except OSError as error:
        raise unusable(path.parent, error) from error
    return part


def _parse(text: str) -> Ed25519PrivateKey | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _pem(key: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
