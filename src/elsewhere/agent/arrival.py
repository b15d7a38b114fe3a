"""An agent on a machine that does not see its job's files: it introduces itself, and learns what no store may hold.

The job's description is believed by its signature; we are believed by our place's word. One round trip.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from elsewhere.channels.frames import Verifies
from elsewhere.channels.frames import unseal as disclose
from elsewhere.errors import NotFound, Refused, Unreachable
from elsewhere.model.job import JobSpec
from elsewhere.ship import letters, proofs
from elsewhere.ship.charter import Charter
from elsewhere.stores import Store

ANSWER = timedelta(minutes=15)
"""How long a letter is waited for: a controller may be away, and the dead man's switch ends us all the same."""
AGAIN = timedelta(minutes=5)
"""A hello is made anew so often: a proof gets old."""
_LOOK = (0.1, 3.0)


class Meets(Protocol):
    """What a channel's agent end must have where machines do not share our files."""

    @property
    def store(self) -> Store:
        """The job's own."""
        ...

    @property
    def words(self) -> Mapping[str, str]:
        """What its address says: `proof` is the scheme, and what that scheme needs."""
        ...

    @property
    def verifier(self) -> Verifies | None: ...


@dataclass(frozen=True, slots=True)
class Arrived:
    """The job as it reads here, the key that seals its pickles, and the secrets of its tasks."""

    spec: JobSpec
    key: bytes
    secrets: Mapping[str, str]


def arrive(
    meets: Meets,
    keys: letters.Keys,
    charter: Charter,
    agent: str,
    own: Path,
    python: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Arrived:
    """Say hello and wait for the letter. Unreachable: nobody answered within ANSWER."""
    job = charter.spec.id
    hello = keys.hello(agent)
    key, purpose = f"{letters.LETTERS}{agent}", f"{letters.LETTERS}{agent} of {job}"
    end, again, wait = clock() + ANSWER.total_seconds(), float("-inf"), _LOOK[0]
    while clock() < end:
        if clock() >= again:
            proof = proofs.prove(meets.words.get("proof", ""), meets.words, letters.claim(job, hello))
            meets.store.put(f"{letters.HELLOS}{agent}", letters.pack(replace_proof(hello, proof)))
            again = clock() + AGAIN.total_seconds()
        try:
            letter = letters.unpack_letter(disclose(meets.verifier, purpose, meets.store.get(key)))
            contents = keys.open(job, letter)
            return Arrived(charter.there(own, python), contents.key, contents.secrets)
        except (NotFound, Refused):  # refused: to a process of this machine before us
            pause(wait)
            wait = min(wait * 1.3, _LOOK[1])
    raise Unreachable("no controller answered this machine's hello")


def replace_proof(hello: letters.Hello, proof: bytes) -> letters.Hello:
    return letters.Hello(hello.agent, hello.signing, hello.sealing, proof)


def forget_path() -> None:
    """What our own interpreter was told to search is not for the processes of tasks."""
    os.environ.pop("PYTHONPATH", None)
