"""An agent's life from its first word to its last: join, be furnished, work, leave. One thread, and some beside it."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.agent.claims import Ways
from elsewhere.agent.meeting import FarChannel, Joining, Knock, meet
from elsewhere.agent.runner import Boot, Slots, recover
from elsewhere.agent.steps import CannotFurnish
from elsewhere.errors import ElsewhereError
from elsewhere.hosts import write_whole
from elsewhere.model.reports import BootStep, Ended
from elsewhere.ship.charter import Charter
from elsewhere.ship.marks import KEPT, LOG
from elsewhere.slot import masking

if TYPE_CHECKING:
    from elsewhere.agent.join import Process


def serve(
    joining: Joining,
    ready: Callable[[Process], None] | None = None,
    own: Callable[[Charter], Charter] | None = None,
    knocked: Knock | None = None,
    bell: int | None = None,
) -> str:
    """Join, work, leave; why it left. ElsewhereError if it could not join. `own`: the job as this machine does it.
    `bell`: can be read when it shall look up at once."""
    born = time.monotonic() - joining.age.total_seconds()
    channel, charter = meet(joining, knocked)
    if own is not None:
        charter = own(charter)
    try:
        charter = _furnished(joining, charter)
    except CannotFurnish as error:
        with suppress(OSError):
            write_whole(joining.directory / KEPT, f"{int(joining.term.total_seconds())}\n".encode())
        _send_boot(channel, joining, f"{error}\n".encode())
        channel.report([BootStep(joining.agent, error.step, error.said, error.final)])
        leave(channel)
        return f"it cannot be furnished: {error}"
    ways = Ways(
        joining.agent,
        charter.spec.id,
        joining.term.total_seconds(),
        joining.lease.total_seconds(),
        joining.idle.total_seconds(),
        retry=charter.spec.retry,
        final=joining.final,
        serves=joining.serves,
        grace=charter.spec.grace.total_seconds(),
        lasts=charter.spec.timeout.total_seconds() if charter.spec.timeout is not None else 0.0,
    )
    place = joining.directory / "slots" / joining.agent
    with selectors.DefaultSelector() as selector, ExitStack() as exits:
        if channel.watch is not None:
            selector.register(channel.watch, selectors.EVENT_READ, _nothing)
        if bell is not None:
            selector.register(bell, selectors.EVENT_READ, lambda: os.read(bell, 64))
        if left := _left_behind(place, joining.agent):
            channel.report(left)
        boot = replace(_boot(charter), ends=time.time() + ways.ends - (time.monotonic() - born) if ways.final else 0.0)
        slots = Slots(boot, joining.slots, place, selector, joining.share)
        slots.hire(1)  # who waits for the first task waits less: the rest of us is loaded while it starts
        from elsewhere.agent.join import Process

        process = Process(ways, channel, slots, joining.directory, lambda: time.monotonic() - born)
        _beside(process, channel, place, exits, masking.words(charter.spec.env[name] for name in charter.spec.hidden))
        if ready is not None:
            ready(process)
        try:
            return process.run()
        finally:
            for last in process.after:
                last()
            leave(channel)


def _send_boot(channel: FarChannel, joining: Joining, last: bytes) -> None:
    """What the boot has said so far, and its last words, which may not have come through to its file."""
    from elsewhere.channels.output import Upload

    store = getattr(channel, "store", None)
    if store is not None:
        with suppress(ElsewhereError, OSError):
            Upload(store, joining.agent, joining.directory, joining.directory / LOG).send_boot(last)


def _furnished(joining: Joining, charter: Charter) -> Charter:
    """Where machines do not see our files, what the environment asks for is put there first."""
    if charter.directory != str(joining.directory):
        return charter
    from elsewhere.agent.furnish import furnish

    return replace(charter, spec=furnish(charter, joining.directory))


def leave(channel: FarChannel) -> None:
    """What a channel has for us and nobody has begun goes back now, not when its lease is over."""
    close = getattr(channel, "close", None)
    if close is not None:
        close()


def _beside(
    process: Process, channel: FarChannel, place: Path, exits: ExitStack, hidden: Sequence[bytes]
) -> None:  # fmt: skip
    """What goes on beside the loop on a machine that is far: its output goes home, its place's notices are heard."""
    words: Mapping[str, str] = getattr(channel, "words", {})
    store = getattr(channel, "store", None)
    if store is not None:
        from elsewhere.agent.outflow import InTurns, Outflow
        from elsewhere.channels.lent import Lent
        from elsewhere.channels.output import Upload

        upload = Upload(store, process.ways.name, place, process.directory / LOG, hidden)
        if isinstance(store, Lent):
            process.outflow = InTurns(upload)
            process.between.append(process.outflow.turn)
            process.after.append(process.outflow.close)
        else:
            process.outflow = Outflow(upload)
            process.outflow.start()
        exits.callback(process.outflow.close)
    if "notice" in words:
        from elsewhere.agent.notice import Watch, asker

        watch = Watch(asker(words["notice"]), process.notice, process.call)
        watch.start()
        exits.callback(watch.close)


def _boot(charter: Charter) -> Boot:
    return Boot.of(charter.spec, Path(charter.directory), charter.key)


def _left_behind(place: Path, agent: str) -> list[Ended]:
    """What the slots of an earlier process of this agent finished and it did not report; the ledger knows them by
    their numbers."""
    if not place.is_dir():
        return []
    return [report._replace(agent=agent) for report in recover(place)]


def _nothing() -> None:
    """The channel is read in each turn anyway."""
