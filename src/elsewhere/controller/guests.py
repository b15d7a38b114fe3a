"""Machines that are far introduce themselves here: who proves to be one of ours gets a letter, and its reports count.

A proof is believed only if the place itself vouches for it; everything else in the store could be anybody's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from hashlib import sha256

from elsewhere.backends.base import Attests, NativeId
from elsewhere.channels.frames import Signs, Verifies
from elsewhere.channels.frames import seal as enclose
from elsewhere.channels.frames import unseal as disclose
from elsewhere.errors import NotFound, PlaceError, Refused
from elsewhere.ship import letters, seal
from elsewhere.stores import Store

EVERY = (0.25, 5.0)
"""Seconds between two looks for newcomers: when one has just become expected, and when none has come for long."""


class Guests:
    """Knows machines by the keys of their letters, and says who may speak for whom. `contents`: what each is told."""

    def __init__(
        self,
        store: Store,
        place: Attests,
        job: str,
        signer: Signs,
        verifier: Verifies,
        contents: Callable[[NativeId], letters.Contents],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.place, self.job = store, place, job
        self._signer, self._verifier, self._contents = signer, verifier, contents
        self._known: dict[NativeId, bytes] = {}
        self._answered: set[tuple[str, bytes]] = set()
        self._clock, self._awaited = clock, frozenset[NativeId]()
        self._every, self._due = EVERY[0], 0.0

    def open(self) -> None:
        """Whom a controller before us has written to is known again."""
        for key in self.store.list(letters.LETTERS):
            try:
                letter = letters.unpack_letter(disclose(self._verifier, self._purpose(key), self.store.get(key)))
            except (Refused, NotFound):
                continue
            self._known[letter.agent] = letter.signing

    def look(self, expected: Collection[NativeId]) -> list[str]:
        """Answer new hellos of the machines that are expected; why others were turned away, a sentence each.

        Twice: those that were answered are not asked about again. Each look costs a request, so most calls do not
        look: the longer nobody new has become expected, the fewer. Unreachable: nothing was lost; look again.
        """
        awaited = frozenset(native for native in expected if native not in self._known)
        if not awaited <= self._awaited:
            self._every, self._due = EVERY[0], 0.0
        self._awaited = awaited
        if not awaited or self._clock() < self._due:
            return []
        self._due = self._clock() + self._every
        self._every = min(self._every * 1.3, EVERY[1])
        told = []
        for key in self.store.list(letters.HELLOS):
            name = key.removeprefix(letters.HELLOS)
            if name in expected and name not in self._known and (why := self._admit(name, self.store.get(key))):
                told.append(why)
        return told

    def of(self, agent: str) -> Verifies:
        """Who checks what this agent signs. Refused: it was not let in."""
        if agent not in self._known:
            raise Refused(f"{agent} has not proved that it is one of this job's machines")
        return _Own(self._known[agent])

    def _admit(self, name: str, data: bytes) -> str:
        mark = (name, sha256(data).digest())
        if mark in self._answered:
            return ""
        try:
            hello = letters.unpack_hello(data)
            claim = letters.claim(self.job, hello)
            if hello.agent != name or self.place.identify(hello.proof, claim) != name:
                raise Refused(f"a hello says that it is {name}, and is not")
            letter = letters.answer(self.job, hello, self._contents(name))
        except Refused as error:
            self._answered.add(mark)
            return error.message
        except PlaceError as error:
            return error.message if not error.transient else ""
        key = f"{letters.LETTERS}{name}"
        self.store.put(key, enclose(self._signer, self._purpose(key), letters.pack(letter)))
        self._known[name] = hello.signing
        self._answered.add(mark)
        self.store.delete([f"{letters.HELLOS}{name}"])  # so that those who are let in are not listed again and again
        return ""

    def _purpose(self, key: str) -> str:
        return f"{key} of {self.job}"


class _Own:
    """The key of one machine."""

    def __init__(self, public: bytes) -> None:
        self.public = public

    def verify(self, data: bytes, signature: bytes) -> bool:
        return seal.verify_by([self.public], [sha256(data).digest()], signature)
