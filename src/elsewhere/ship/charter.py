"""What every agent of a job must know before its first task: the job's description, and where its bytes lie.

Written once by the controller, carried by the channel (signed in a spool, down the stream of a pipe).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from elsewhere.errors import Refused
from elsewhere.model.job import JobSpec


@dataclass(frozen=True, slots=True)
class Charter:
    """`directory`: the job's own, with `store/` in it, as agents that share our files see it. `key` seals pickles:
    whoever can read it can forge results, so a channel that carries it is open to its owner alone."""

    spec: JobSpec
    directory: str
    key: bytes = b""


_encode = msgspec.json.Encoder().encode
_charter = msgspec.json.Decoder(Charter)


def pack(charter: Charter) -> bytes:
    return _encode(charter)


def unpack(data: bytes) -> Charter:
    """Refused if it is none, or of a version that says other things."""
    try:
        return _charter.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Refused(
            f"the job's description cannot be read: {error}", hint="both ends need the same version"
        ) from None
