"""A seat that is hired: the smallest machine of a place starts for one controller, and ends with its job.

Nobody can call it, so it is asked in a corner of the place's deposit (post.py). It proves which machine it is before it
is told anything; the key that signs for its job is made here, for it alone, and kept here: should the machine be lost,
another one goes on under the same key.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from elsewhere.backends import registry
from elsewhere.backends.base import Backend, Deposit, Distant
from elsewhere.backends.seats import Hires, Seats
from elsewhere.channels import registry as channels
from elsewhere.config.home import home
from elsewhere.controller import away as known
from elsewhere.controller import hiring, homecoming
from elsewhere.controller import seat as seats
from elsewhere.controller.away import Away
from elsewhere.controller.files import JobFiles
from elsewhere.controller.freight import put
from elsewhere.controller.post import ENDED, Post
from elsewhere.errors import NoCapacity, PlaceError, Refused, Unreachable, UsageError, Vacant
from elsewhere.hosts import private_directory, write_new
from elsewhere.model import ids
from elsewhere.model.place import Offer, Place
from elsewhere.model.resources import Resources
from elsewhere.ship import runtime, seal, seat
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.letters import Contents
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive, Bare, BootText, render
from elsewhere.stores import Store

PROJECT, SITTER = "project", "elsewhere.controller.sitter"
NEED = Resources(cpus=0.4, memory=2 << 30)
"""Of a machine on which a controller sits, for ever: the smaller burstable types would take minutes to begin."""
SHARE = Decimal("0.2")
"""Of a job's budget, at most so much is set aside for the machine of its controller."""
SHORTEST = timedelta(minutes=15)
ASKING = timedelta(minutes=20)
"""In which a machine that was asked for must have begun."""
LOOK = (0.1, 1.0)
"""Seconds between two looks for the next piece of an answer: at first, and when none has come for long."""
LINGER = 45
"""Seconds for which such a machine stays when nothing goes on there: whoever followed the job asks for its results."""
SIGN = 20.0
"""Seconds between two signs that somebody still waits."""
ASK_PLACE = 10.0
"""Seconds without a word after which it is looked whether the machine is there."""
HEARD = 5.0
"""Seconds that what was interrupted has for its last words."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is hired: the cheapest of these, for so long at most."""

    offers: tuple[Offer, ...]
    term: timedelta

    @property
    def most(self) -> Decimal:
        """Dollars in all, at most."""
        return _most(self.offers[0], self.term)


def terms(place: Place, budget: Decimal | None, whole: bool = False) -> Terms | None:
    """What a seat there would cost. None: places of machines that are there already hire nothing, unless `whole`:
    a machine for it alone.

    `budget`: the job's; of it no more than a fifth is set aside. Refused: nothing there is large enough. UsageError:
    the budget is too small.
    """
    backend = registry.build(place)
    if whole and not isinstance(backend, Hires):
        raise UsageError(f"{place.name} starts no job for a controller to sit in",
                         hint="Name a Slurm place with --on, or a place with --controller.")  # fmt: skip
    if not isinstance(backend, Hires) or (isinstance(backend, Seats) and not whole):
        return None
    hires, longest = backend.hires(own().architecture)
    offers = tuple(hires.offers(NEED))
    if not offers:
        raise Refused(f"{place.name} has no machine on which a controller could sit",
                      hint="`elsewhere offers` lists what there is.")  # fmt: skip
    term = longest
    if budget is not None and offers[0].price:
        bought = timedelta(hours=float(budget * SHARE / offers[0].price))
        if bought < SHORTEST:
            raise UsageError(f"a budget of ${budget:f} is too small for a machine that holds the controller as well",
                             hint=f"{offers[0].name} costs ${offers[0].price:f} an hour; a fifth of the budget may "
                             "go into it. Leave --controller out, or say more.")  # fmt: skip
        term = min(term, timedelta(seconds=int(bought.total_seconds())))
    return Terms(offers, term)


def hire(place: Place, found: Terms, project: Bundle | None, needs: Sequence[str], told: Callable[[str], None],
         pem: str = "") -> Away:  # fmt: skip
    """A machine that sits there and waits for the first ask; nothing is run yet. `pem`: the key of a seat before it.

    PlaceError: there is none, or it cannot be used: nothing of it is left. Interrupted: the same.
    """
    hires, _ = cast(Hires, registry.build(place)).hires(own().architecture)
    deposit, ground = cast(Distant, hires).deposit(), cast(Distant, hires).ground()
    who, key = ids.new("seat"), os.urandom(32)
    pem = pem or seal.fresh()
    private_directory(_secrets(who).parent)
    write_new(_secrets(who), json.dumps({"key": key.hex(), "pem": pem}).encode())
    url = f"{deposit.url.rstrip('/')}/seats/{who}"
    store, target = hiring.opened(hires, url), Target(own().python, ground.architecture or own().architecture)
    channel = hires.traits.channels[0]
    also = sorted({*needs, *(channels.needs(channel) if channel in channels.FAR else ())})
    parts = {"we": runtime.whole(target, also), "uv": runtime.bringer(target)}
    work = ids.new("work")
    archives = [Archive(one.key, one.digest, f"{seat.HERE}/{seat.folder(sort, one.digest)}")
                for sort, one in parts.items() if one]  # fmt: skip
    we = archives[0].folder.rpartition("/")[2]
    away = Away("", place.name, place.backend, dict(place.settings), "", we, work, seat=who, store=url,
                within=seats.within(hires))  # fmt: skip
    try:
        for one in (*parts.values(), project):
            if one is not None:
                put(hiring.opened(hires, deposit.url), one)
        if project is not None:
            archives.append(Archive(project.key, project.digest, f"{seat.HERE}/work/{work}"))
        bare = Bare(ground.name, ground.fetch, target.python, tuple(archives), next(iter(archives[1:2]), None),
                    f"seats/{who}/boot/")  # fmt: skip
        for number, offer in enumerate(found.offers, 1):
            facts = {"name": offer.name, "zone": offer.zone, "price": str(offer.price),
                     "term": found.term.total_seconds(), "born": time.time()}  # fmt: skip
            start_by = datetime.now(UTC) + max(ASKING, hires.traits.waits)
            address = _address(away, deposit, archives, facts, hires)
            text = render(BootText(address, ground.directory, "", found.term, start_by, end=ground.end, bare=bare,
                                   program=SITTER))  # fmt: skip
            try:
                native = hiring.launched(hires, f"{who}-{number}", text, offer, found.term, start_by)
            except NoCapacity:
                if number == len(found.offers):
                    raise
                continue
            away = replace(away, host=native)
            told(f"controller: {offer.name} in {offer.zone} ({native}) begins")
            hiring.admit(hires, native, store, who, Contents(key, {"key": pem}), told)
            return away
        raise AssertionError("unreachable")
    except BaseException:
        dismiss(away, hires)
        raise


def _address(away: Away, deposit: Deposit, archives: Sequence[Archive], facts: Any, hires: Backend) -> str:
    """No secret of it. `seldom`: the seconds between two looks for an ask, at most, where looks cost nothing. `apart`:
    who hired it does not see its files, so that what was put away is all that is wanted of them."""
    uv = next((one.folder.rpartition("/")[2] for one in archives[1:2]), "")
    more = {"seldom": "" if hires.traits.prices else str(LOOK[1]), "apart": "1" if away.within else ""}
    return urlencode({**deposit.channel, "seat": away.seat, "store": away.store, "key": seal.public().hex(),
                      "we": away.we, "uv": uv, "work": away.work, "linger": LINGER, **more,
                      "facts": json.dumps(facts)})  # fmt: skip


# --- asking -----------------------------------------------------------------------------------------------------------


def begin(away: Away, words: Sequence[str], **more: Any) -> int:
    """Have these words run there, and wait for nothing; the number of the ask. `more`: as of seat.ask."""
    return _post(away).ask(seats.asked(away, words, **more))


def ask(away: Away, words: Sequence[str], out: int = 1, err: int = 2, **more: Any) -> int:
    """As seat.ask. Vacant: the machine is gone, or about to go; `come_home` may bring what it has left."""
    post = _post(away)
    number = begin(away, words, **more)
    try:
        return _followed(away, post, number, {1: out, 2: err})
    except KeyboardInterrupt:
        post.leave(number)
        with contextlib.suppress(KeyboardInterrupt, PlaceError):
            _followed(away, post, number, {1: out, 2: err}, HEARD)
        raise
    finally:
        post.forget(number)


def _followed(away: Away, post: Post, number: int, streams: Mapping[int, int], most: float = float("inf")) -> int:
    piece, wait, signs = 1, LOOK[0], 0
    began = heard = signed = time.monotonic()
    while (now := time.monotonic()) - began < most:
        if now - signed > SIGN:
            signed, signs = now, signs + 1
            post.sign(number, signs)
        words = post.told(number, piece)
        if words is None:
            if now - heard > ASK_PLACE:
                heard = now
                _sits(away, post)
            time.sleep(wait)
            wait = min(wait * 1.2, LOOK[1])
            continue
        piece, wait, heard = piece + 1, LOOK[0], now
        for stream, data in words:
            if stream == ENDED:
                return int(data)
            _write(streams[stream], data)
    raise Unreachable("nothing was heard any more")


def _write(to: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(to, left) :]


def _sits(away: Away, post: Post) -> None:
    """Vacant: it does not, or has put all away."""
    if homecoming.head(post.closed) is not None:
        raise Vacant(f"the machine of the controller of {away.name} has ended")
    if hiring.seen(_hires(away), away.host) is None:
        raise _lost(away)


def _lost(away: Away) -> Vacant:
    if away.kept:
        return Vacant(f"{away.host}, on which the controller of {away.name} sat, is gone",
                      hint=f"`elsewhere resume {away.name}` goes on from what was written down, on another one; "
                      "what runs goes on meanwhile.")  # fmt: skip
    return Vacant(f"{away.host}, on which {away.name} ran with its controller, is gone, and what it did with it",
                  hint=f"`elsewhere rm --force {away.name}` forgets it; run it again.")  # fmt: skip


# --- when it ends -----------------------------------------------------------------------------------------------------


def come_home(away: Away) -> list[JobFiles] | None:
    """Its jobs as jobs like any other here, if its seat has put them away; its corner there goes, and so do the records
    of where they sat. None: it has not. Twice: what is here already is left as it is.
    """
    post = _post(away)
    found = homecoming.head(post.closed)
    if found is None:
        return None
    files = [homecoming.bring(post.closed, one) for one in found]
    _clear(post.store)
    for one in known.records():
        if one.seat == away.seat:
            known.forget(one.job)
    forget(away)
    return files


def succeed(away: Away, told: Callable[[str], None], budget: Decimal | None = None) -> Away:
    """Another machine in place of one that is lost, under the same key; nothing is run yet. Vacant: it was not lost,
    or nothing was written down anywhere. Else as `hire`."""
    if not away.kept or hiring.seen(_hires(away), away.host) is not None:
        raise _lost(away)
    place = Place(away.place, away.backend, away.settings)
    found = terms(place, budget)
    assert found is not None
    new = hire(place, found, None, (), told, pem=_kept_secrets(away)["pem"])
    _clear(hiring.opened(_hires(away), away.store))
    _secrets(away.seat).unlink(missing_ok=True)
    return replace(new, env=away.env, kept=away.kept, job=away.job, name=away.name, created=away.created)


def dismiss(away: Away, hires: Backend | None = None) -> None:
    """End its machine, and remove what is of it at its place and here, as far as that is to be had. Twice: harmless."""
    with contextlib.suppress(PlaceError):
        if away.host:
            (hires or _hires(away)).cancel([away.host])
    with contextlib.suppress(PlaceError):
        _clear(hiring.opened(hires or _hires(away), away.store))
    forget(away)


def forget(away: Away) -> None:
    """Its key here. Twice: harmless."""
    _secrets(away.seat).unlink(missing_ok=True)


def _clear(store: Store) -> None:
    """The head first: what has begun to go does not come home again."""
    store.delete([homecoming.HEAD])
    store.delete(list(store.list()))


def _post(away: Away) -> Post:
    return Post(hiring.opened(_hires(away), away.store), bytes.fromhex(_kept_secrets(away)["key"]), away.seat)


def _kept_secrets(away: Away) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(_secrets(away.seat).read_bytes())
    except FileNotFoundError:
        raise Vacant(
            f"the key of {away.name} is not here any more", hint="`elsewhere rm --force` forgets it."
        ) from None
    return found


def _secrets(who: str) -> Path:
    return home() / "away" / "seats" / who


_built: dict[str, Backend] = {}
"""Places by the seats that are asked in this process: a place may have to ask before it can say how it hires."""


def _hires(away: Away) -> Backend:
    if away.seat not in _built:
        place = Place(away.place, away.backend, away.settings)
        _built[away.seat] = cast(Hires, registry.build(place)).hires(own().architecture)[0]
    return _built[away.seat]


def _most(offer: Offer, term: timedelta) -> Decimal:
    return offer.price * Decimal(term.total_seconds()) / 3600
