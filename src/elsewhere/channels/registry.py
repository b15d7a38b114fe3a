"""Which channel an address names. What an agent must know to join is in the address; it holds no secret.

spool:/path?job=JOB&key=HEX     a directory that the machines share; `key` is the job's public key
pipe:/path                      a socket of this machine           pipe:-     our own standard input and output
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlencode

from elsewhere.channels.frames import Signs, Verifies
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.channels.away import Away
    from elsewhere.channels.spool import Spool


def spool_address(directory: Path, job: str, key: bytes = b"") -> str:
    """The address of a spool in a directory."""
    words = {"job": job, **({"key": key.hex()} if key else {})}
    return f"spool:{quote(str(directory))}?{urlencode(words)}"


def spool_in(
    directory: Path, job: str, signer: Signs | None, verifier: Verifies | None, charter: bytes, key: bytes = b""
) -> Spool:
    """The controller's end of a spool in a directory."""
    from elsewhere.channels.spool import Spool
    from elsewhere.stores import DirectoryStore

    return Spool(
        DirectoryStore(directory),
        job,
        light=DirectoryStore(directory, sync=False),
        address=spool_address(directory, job, key),
        signer=signer,
        verifier=verifier,
        charter=charter,
    )


def join(
    address: str,
    agent: str,
    directory: Path,
    lease: timedelta,
    trust: Callable[[bytes], Verifies] | None = None,
) -> Spool | Away:
    """The agent's end of the channel at this address. UsageError if it names none.

    `directory` is the agent's own, for what it must not lose. `trust` makes a verifier of the job's public key; a
    spool whose address has a key is not joined without one.
    """
    kind, _, rest = address.partition(":")
    if kind == "spool" and rest:
        return _join_spool(address, rest, trust)
    if kind == "pipe" and rest:
        from elsewhere.channels.away import Away, once, to_socket

        connect = once(*_own_streams()) if rest == "-" else to_socket(unquote(rest))
        return Away(agent, connect, directory / "journal", address=address, lease=lease)
    raise UsageError(f"{address!r} is not the address of a channel", hint="it begins with spool: or pipe:")


def _join_spool(address: str, rest: str, trust: Callable[[bytes], Verifies] | None) -> Spool:
    from elsewhere.channels.spool import Spool
    from elsewhere.stores import DirectoryStore

    path, _, query = rest.partition("?")
    words = parse_qs(query)
    job, key = words.get("job", [""])[0], words.get("key", [""])[0]
    if not job:
        raise UsageError(f"{address!r} does not say which job it is of", hint="it ends with ?job=...")
    if key and trust is None:
        raise UsageError(f"{address!r} is signed, and there is nobody to check it")
    verifier = trust(bytes.fromhex(key)) if key and trust is not None else None
    root = Path(unquote(path))
    return Spool(DirectoryStore(root), job, light=DirectoryStore(root, sync=False), address=address, verifier=verifier)


def _own_streams() -> tuple[int, int]:
    """Our stdin and stdout, out of the way of everything else that reads or prints."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reader, writer
