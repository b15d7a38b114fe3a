"""How a machine and its job get to know each other: a hello with a proof, and a letter that only that machine can open.

The hello says which keys are the machine's; its place vouches for that. The letter holds what must not lie in a store:
the key that seals the job's pickles, and the secrets of its tasks. Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from elsewhere.errors import Refused
from elsewhere.ship import seal

HELLOS, LETTERS = "hello/", "letters/"
"""Where they lie in the job's store, each under its agent's name."""
_NONCE = bytes(12)
"""Each box has a key of its own, so its nonce may be the same."""


class Hello(msgspec.Struct, frozen=True):
    """`signing` and `sealing`: the machine's public keys, 32 bytes each. `proof`: its place's, over `claim`."""

    agent: str
    signing: bytes
    sealing: bytes
    proof: bytes = b""


class Letter(msgspec.Struct, frozen=True):
    """To one machine: its signing key, by which its reports are known from now on, and a box for its sealing key."""

    agent: str
    signing: bytes
    box: bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the box. `key` seals pickles; `secrets`: variables of tasks."""

    key: bytes
    secrets: Mapping[str, str]


_encode = msgspec.msgpack.Encoder().encode
_hello = msgspec.msgpack.Decoder(Hello)
_letter = msgspec.msgpack.Decoder(Letter)
_contents = msgspec.msgpack.Decoder(Contents)


class Keys:
    """A machine's own, made when it boots and never written down. Signs its reports."""

    def __init__(self) -> None:
        self._signing, self._sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()

    def hello(self, agent: str) -> Hello:
        return Hello(
            agent, self._signing.public_key().public_bytes_raw(), self._sealing.public_key().public_bytes_raw()
        )

    def sign(self, data: bytes) -> bytes:
        return seal.sign_with(self._signing, [sha256(data).digest()])

    def open(self, job: str, letter: Letter) -> Contents:
        """Refused: it is to somebody else, or was not written by who had our hello."""
        theirs, closed = letter.box[:32], letter.box[32:]
        try:
            shared = self._sealing.exchange(X25519PublicKey.from_public_bytes(theirs))
            return _contents.decode(
                ChaCha20Poly1305(_key(shared, job, letter.agent)).decrypt(_NONCE, closed, letter.signing)
            )
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise Refused(f"the letter to {letter.agent} cannot be opened here") from error


def answer(job: str, hello: Hello, contents: Contents) -> Letter:
    """The letter to who said this hello; whether to believe it was decided before."""
    mine = X25519PrivateKey.generate()
    try:
        shared = mine.exchange(X25519PublicKey.from_public_bytes(hello.sealing))
    except ValueError as error:
        raise Refused(f"the hello of {hello.agent} has no usable key") from error
    closed = ChaCha20Poly1305(_key(shared, job, hello.agent)).encrypt(_NONCE, _encode(contents), hello.signing)
    return Letter(hello.agent, hello.signing, mine.public_key().public_bytes_raw() + closed)


def claim(job: str, hello: Hello) -> bytes:
    """What the place's proof must be over: of whom, for which job, with which keys."""
    parts = [job.encode(), hello.agent.encode(), hello.signing, hello.sealing]
    return sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest()


def pack(word: Hello | Letter) -> bytes:
    return _encode(word)


def unpack_hello(data: bytes) -> Hello:
    """Refused if it is none."""
    try:
        return _hello.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"this is no hello: {error}") from None


def unpack_letter(data: bytes) -> Letter:
    """Refused if it is none."""
    try:
        return _letter.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"this is no letter: {error}") from None


def _key(shared: bytes, job: str, agent: str) -> bytes:
    return HKDF(SHA256(), 32, None, f"elsewhere letter 1 {job} {agent}".encode()).derive(shared)
