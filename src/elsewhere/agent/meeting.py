"""How an agent and its controller come together: what it was started with, its end of the channel, the job's words.

Nothing of what runs tasks is imported here.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from elsewhere.channels.base import Channel
from elsewhere.channels.registry import join
from elsewhere.model.orders import Orders
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, unpack

if TYPE_CHECKING:
    from elsewhere.channels.door import Door


class FarChannel(Channel, Protocol):
    """A channel's agent end: besides its verbs, what the controller told everybody."""

    def read_charter(self) -> bytes: ...

    def told(self) -> Orders: ...


class Joining(NamedTuple):
    """How the boot text starts an agent."""

    address: str
    agent: str
    directory: Path
    slots: int
    term: timedelta
    lease: timedelta
    idle: timedelta
    share: int = 1
    """So many agents share its machine."""
    age: timedelta = timedelta(0)
    """Of the machine, when its agent begins: what it did before counts against the term."""
    final: bool = False
    """Its term will not grow."""
    serves: int = 0
    """So many tasks in all, and it ends; 0: as many as there are."""


class JobKey(NamedTuple):
    """Checks what the job's owner signed, by the public key that stands in the address."""

    public: bytes

    def verify(self, data: bytes, signature: bytes) -> bool:
        return seal.verify_by([self.public], [sha256(data).digest()], signature)


class OwnKey:
    """Signs with the user's own key what `JobKey` checks."""

    def sign(self, data: bytes) -> bytes:
        return seal.sign([sha256(data).digest()])

    def verify(self, data: bytes, signature: bytes) -> bool:
        return seal.verify([sha256(data).digest()], signature)


class Knock(NamedTuple):
    """The channel's end, open, and the keys of a machine that must prove which one it is."""

    channel: Any
    keys: Any = None


def knock(joining: Joining, door: Door | None = None) -> Knock:
    """Open the channel's end; nobody is waited for. ElsewhereError if that cannot be. `door`: if it stands already."""
    keys = None
    if "proof=" in joining.address:  # it must prove which machine it is, and signs what it says
        from elsewhere.ship.letters import Keys

        keys = Keys()
    return Knock(join(joining.address, joining.agent, joining.directory, joining.lease, JobKey, keys, door), keys)


def meet(joining: Joining, knocked: Knock | None = None) -> tuple[FarChannel, Charter]:
    """The channel's end, and the job as it reads on this machine. Waits for it."""
    knocked = knocked or knock(joining)
    channel, keys = knocked.channel, knocked.keys
    charter = unpack(channel.read_charter())
    if keys is not None:
        from elsewhere.agent.arrival import arrive

        charter = arrive(channel, keys, charter, joining.agent, joining.directory, sys.executable)
    elif getattr(channel, "store", None) is not None:  # the connection, or the directory, says who is at its ends
        spec = charter.there(joining.directory, sys.executable)
        charter = replace(charter, spec=spec, directory=str(joining.directory))
    else:
        return cast(FarChannel, channel), charter
    from elsewhere.channels.carried import Taking

    store, outputs = joining.directory / "store", None
    if charter.spec.outputs:
        from elsewhere.channels.outputs import Outputs

        outputs = Outputs(channel.store, joining.directory / "outputs")
    taking = Taking(channel, channel.store, store, charter.spec.entry.kind == "call", outputs)
    return cast(FarChannel, taking), charter
