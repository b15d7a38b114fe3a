"""Which channel an address names. What an agent must know to join is in the address; it holds no secret.

spool:/path?job=JOB&key=HEX     a directory that the machines share; `key` is the job's public key
sqs:REGION/PREFIX?job=JOB&bucket=s3://...&key=HEX[&sort=CLASS]   queues, and a bucket for what is large
pipe:/path                      a socket of this machine           pipe:-     our own standard input and output
door:                           the controller dials: a socket in the agent's directory, and a bridge to it
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from elsewhere.channels.frames import Signs, Verifies
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.channels.away import Away
    from elsewhere.channels.door import Door
    from elsewhere.channels.spool import Spool
    from elsewhere.channels.sqs import Sqs
    from elsewhere.channels.sqs_agent import SqsAgent
    from elsewhere.stores import Store

STORE = "store"
"""A word of a spool's address: the directory, as agents see it, of what is too large for the spool."""
GATHER = 0.5
"""Seconds for which reports are gathered where each object that we read is a command on another host."""
PATIENCE = timedelta(seconds=5)
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,60}")


def spool_address(directory: Path, job: str, key: bytes = b"", values: str = "", proof: str = "") -> str:
    """The address of a spool in a directory. `values`: where what is too large for it lies, if agents do not see our
    files; `proof`: the scheme by which they prove who they are, if they must (ship/proofs.py)."""
    words = {"job": job, **({"key": key.hex()} if key else {}), **({STORE: values} if values else {})}
    words |= {"proof": proof} if proof else {}
    return f"spool:{quote(str(directory))}?{urlencode(words)}"


def spool_at(store: Store, address: str, job: str, signer: Signs, verifier: Verifies, charter: bytes) -> Spool:
    """The controller's end of a spool that lies where its address says for the agents, and at `store` for us."""
    from elsewhere.channels.spool import Spool

    return Spool(store, job, address=address, signer=signer, verifier=verifier, charter=charter, patience=PATIENCE)


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


def sqs_address(
    region: str, prefix: str, bucket: str, job: str, key: bytes = b"", sort: str = "", also: Mapping[str, str] = {}
) -> str:
    """The address of a job's queues. `bucket`: the store's URL; `sort`: the class of deliveries of this machine.

    `also`: what a machine must know of its place besides (how to prove who it is, how to hear of its end).
    """
    words = {"job": job, "bucket": bucket, **({"key": key.hex()} if key else {}), **({"sort": sort} if sort else {})}
    words.update(also)
    return f"sqs:{region}/{prefix}?{urlencode(words)}"


def sqs_in(
    region: str,
    prefix: str,
    bucket: str,
    job: str,
    signer: Signs | None,
    charter: bytes,
    key: bytes = b"",
    also: Mapping[str, str] = {},
    **more: Any,
) -> Sqs:
    """The controller's end of a job's queues. `more`: as `Sqs` takes it (agents, classes, sort, labels)."""
    from elsewhere import aws
    from elsewhere.channels.sqs import Sqs
    from elsewhere.stores.objects import open_store

    if not _PREFIX.fullmatch(prefix):
        raise UsageError(f"{prefix!r} begins no queue's name", hint="letters, digits, - and _, at most 60")
    address = sqs_address(region, prefix, bucket, job, key, also=also)
    profile = aws.profile_of(urlsplit(bucket).netloc)
    return Sqs(region, prefix, open_store(bucket, region), job, address=address, signer=signer, charter=charter,
               client=lambda: aws.client("sqs", region, profile), **more)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """What the controller's end of a channel is made of where machines do not see our files."""

    job: str
    store: str
    """URL of the job's own store."""
    words: Mapping[str, str]
    """The place's own (backends/base.py, Deposit)."""
    signer: Signs
    agents: Callable[[str], Verifies]
    """Who checks what an agent of this name signs."""
    charter: bytes
    key: bytes
    """The job's public key."""
    turn: int = 0
    """How often the job was put away before: a queue that was removed may not be made again at once."""


def needs(kind: str) -> tuple[str, ...]:
    """The distributions that an agent needs for its end of this channel. UsageError: machines far away cannot."""
    if kind not in FAR:
        raise UsageError(f"machines there cannot be reached by {kind!r}", hint=f"it is one of: {', '.join(FAR)}")
    return FAR[kind][0]


def home(kind: str, terms: Terms) -> Sqs:
    """The controller's end."""
    needs(kind)
    return FAR[kind][1](terms)


def _home_sqs(terms: Terms) -> Sqs:
    also = {name: value for name, value in terms.words.items() if name != "region"}
    prefix = f"elsewhere-{terms.job}" + (f"-{terms.turn}" if terms.turn else "")
    return sqs_in(terms.words["region"], prefix, terms.store, terms.job, terms.signer,
                  terms.charter, terms.key, also, agents=terms.agents, labels={"elsewhere:job": terms.job})  # fmt: skip


_AWS = ("botocore", "jmespath", "obstore", "python-dateutil", "six", "urllib3")
FAR: dict[str, tuple[tuple[str, ...], Callable[[Terms], Sqs]]] = {"sqs": (_AWS, _home_sqs)}


def join(
    address: str,
    agent: str,
    directory: Path,
    lease: timedelta,
    trust: Callable[[bytes], Verifies] | None = None,
    signer: Signs | None = None,
    door: Door | None = None,
) -> Spool | Away | SqsAgent:
    """The agent's end of the channel at this address. UsageError if it names none.

    `directory` is the agent's own, for what it must not lose. `trust` makes a verifier of the job's public key; a
    channel whose address has a key is not joined without one. `signer`: the agent's own key, where reports are signed.
    `door`: the agent's, if it stands already.
    """
    kind, _, rest = address.partition(":")
    if kind == "spool" and rest:
        return _join_spool(address, rest, trust)
    if kind == "sqs" and rest:
        return _join_sqs(address, rest, agent, trust, signer)
    if kind == "door":
        from elsewhere.channels.away import Away
        from elsewhere.channels.door import Door

        return Away(agent, door or Door(directory), directory / "journal", address=address, lease=lease)
    if kind == "pipe" and rest:
        from elsewhere.channels.away import Away, once, to_socket

        connect = once(*_own_streams()) if rest == "-" else to_socket(unquote(rest))
        return Away(agent, connect, directory / "journal", address=address, lease=lease)
    raise UsageError(f"{address!r} is not the address of a channel", hint="it begins with spool:, sqs:, pipe: or door:")


def _join_spool(address: str, rest: str, trust: Callable[[bytes], Verifies] | None) -> Spool:
    from elsewhere.channels.spool import Spool
    from elsewhere.stores import DirectoryStore

    path, job, verifier, words = _parts(address, rest, trust)
    root = Path(unquote(path))
    spool = Spool(DirectoryStore(root), job, light=DirectoryStore(root, sync=False), address=address, verifier=verifier)
    if STORE in words:
        spool.store, spool.gather = DirectoryStore(Path(words[STORE])), GATHER
    spool.words, spool.verifier = words, verifier
    return spool


def _join_sqs(
    address: str, rest: str, agent: str, trust: Callable[[bytes], Verifies] | None, signer: Signs | None
) -> SqsAgent:
    from elsewhere.channels.sqs_agent import SqsAgent
    from elsewhere.stores.objects import open_store

    path, job, verifier, words = _parts(address, rest, trust)
    region, _, prefix = path.partition("/")
    if not region or not _PREFIX.fullmatch(prefix) or not words.get("bucket"):
        raise UsageError(f"{address!r} names no queues and bucket", hint="sqs:REGION/PREFIX?job=...&bucket=s3://...")
    return SqsAgent(region, prefix, open_store(words["bucket"], region), job, agent, address=address,
                    verifier=verifier, signer=signer, sort=words.get("sort", ""),
                    words={**words, "region": region})  # fmt: skip


def _parts(
    address: str, rest: str, trust: Callable[[bytes], Verifies] | None
) -> tuple[str, str, Verifies | None, dict[str, str]]:
    """What stands before the question mark, the job, who checks its signatures, and all words after it."""
    path, _, query = rest.partition("?")
    words = {name: values[0] for name, values in parse_qs(query).items()}
    job, key = words.get("job", ""), words.get("key", "")
    if not job:
        raise UsageError(f"{address!r} does not say which job it is of", hint="it ends with ?job=...")
    if key and trust is None:
        raise UsageError(f"{address!r} is signed, and there is nobody to check it")
    return path, job, trust(bytes.fromhex(key)) if key and trust is not None else None, words


def _own_streams() -> tuple[int, int]:
    """Our stdin and stdout, out of the way of everything else that reads or prints."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reader, writer
