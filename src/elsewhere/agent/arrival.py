"""An agent on a machine that does not see its job's files: it introduces itself, and learns what no store may hold.

The job's description is believed by its signature; we are believed by our place's word. One round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from elsewhere.channels.frames import Verifies
from elsewhere.channels.frames import unseal as disclose
from elsewhere.errors import NotFound, Refused, Unreachable
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
) -> Charter:
    """Say hello and wait for the letter: the job as it reads here, with its key and the secrets of its tasks.

    Unreachable: nobody answered within ANSWER.
    """
    contents = met(meets, keys, charter.spec.id, agent, clock=clock, pause=pause)
    spec = charter.there(own, python)
    spec = replace(spec, secrets={}, hidden=tuple(contents.secrets), env={**spec.env, **contents.secrets})
    return replace(charter, spec=spec, directory=str(own), key=contents.key)


def met(
    meets: Meets,
    keys: letters.Keys,
    job: str,
    agent: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> letters.Contents:
    """Say hello and wait for the letter: what is in it. Unreachable: nobody answered within ANSWER."""
    hello = keys.hello(agent)
    key, purpose = f"{letters.LETTERS}{agent}", f"{letters.LETTERS}{agent} of {job}"
    end, again, wait = clock() + ANSWER.total_seconds(), float("-inf"), _LOOK[0]
    while clock() < end:
        if clock() >= again:
            proof = proofs.prove(meets.words.get("proof", ""), meets.words, letters.claim(job, hello))
            said = letters.Hello(agent, hello.signing, hello.sealing, proof)
            meets.store.put(f"{letters.HELLOS}{agent}", letters.pack(said))
            again = clock() + AGAIN.total_seconds()
        try:
            letter = letters.unpack_letter(disclose(meets.verifier, purpose, meets.store.get(key)))
            return keys.open(job, letter)
        except (NotFound, Refused):  # refused: to a process of this machine before us
            pause(wait)
            wait = min(wait * 1.3, _LOOK[1])
    raise Unreachable("no controller answered this machine's hello")
