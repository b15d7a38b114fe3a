"""A controller that sits on another machine: how it gets there, and how it is asked.

There it is a controller like any other, with a state directory of its own; here a record says where it sits (away.py).
No key of ours and no ledger travels: the machine there has its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.backends import registry
from elsewhere.backends.seats import Seat, Seats, Within
from elsewhere.channels import registry as channels
from elsewhere.controller.away import Away
from elsewhere.errors import Refused, UsageError
from elsewhere.model import ids
from elsewhere.model.place import Place
from elsewhere.ship import bundle, runtime, seat
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive

if TYPE_CHECKING:
    from elsewhere.controller.hired import Terms

PROJECT = "project"
"""What travels lies under this name in the directory that a job is run from."""
LIMIT = timedelta(minutes=10)
"""For unpacking us there, and for Python to come where there is none."""


# --- going there ----------------------------------------------------------------------------------------------------


def settle(
    place: Place, root: Path, also: Mapping[str, Path], needs: Sequence[str], terms: Terms | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Away:  # fmt: skip
    """All of us, and the project below `root`, on a machine of that place; nothing runs there yet.

    `also`: more files, by their paths below `root`. `needs`: distributions that are wanted besides (`needs_of`).
    `terms`: of a machine that is hired for it (hired.py); `told`: what is waited for, for people.
    UsageError: the place has no machine for that. PlaceError: it cannot be reached, or used.
    """
    backend = registry.build(place)
    if terms is None and not isinstance(backend, Seats):
        raise UsageError(f"no controller can sit at {place.name}",
                         hint="Name a place of hosts that you reach by SSH, or one that starts machines.")  # fmt: skip
    if root in (Path("/"), Path.home()):
        raise UsageError(f"all of {root} would travel with the controller", hint="Run this from your project.")
    project = bundle.code({PROJECT: root}, {f"{PROJECT}/{name}": path for name, path in also.items()})
    if terms is not None:
        from elsewhere.controller import hired

        return hired.hire(place, terms, project, needs, told)
    assert isinstance(backend, Seats)
    work = ids.new("work")
    return take(place, backend, backend.seat(), needs, {f"work/{work}": project}, work)


def take(
    place: Place, backend: Seats, found: Seat, needs: Sequence[str], also: Mapping[str, Bundle] = {}, work: str = ""
) -> Away:  # fmt: skip
    """All of us on that machine, and these archives unpacked by their folders. Errors, `needs` as of `settle`. Twice:
    what is there is not sent again."""
    target = Target(own().python, found.architecture or own().architecture)
    parts = {"we": runtime.whole(target, needs), "uv": runtime.bringer(target)}
    archives = [Archive(one.key, one.digest, seat.folder(sort, one.digest)) for sort, one in parts.items() if one]
    backend.bring(found.host.name, {one.key: one.path for one in (*parts.values(), *also.values()) if one})
    archives += [Archive(one.key, one.digest, folder) for folder, one in also.items()]
    text = seat.text(found.directory, backend.ground().fetch, archives, target.python)
    done = found.host.run(["sh", "-c", text], timeout=LIMIT)
    if not done.ok:
        last = (done.err.strip() or done.out.strip()).decode("utf-8", "replace").splitlines()[-1:]
        raise Refused(f"{found.host.name}: no controller can sit there: {last[0] if last else done.status}",
                      hint=f"`elsewhere places check {place.name}` shows what there is.")  # fmt: skip
    return Away(found.host.name, place.name, place.backend, dict(place.settings), found.directory,
                archives[0].folder, work, within=within(backend))  # fmt: skip


def within(backend: object) -> Mapping[str, Any]:
    """What of its settings is otherwise for a controller that sits there. PlaceError."""
    return backend.within() if isinstance(backend, Within) else {}


def needs_of(place: Place) -> Sequence[str]:
    """The distributions that a controller needs for jobs on that place, besides ours. UsageError: there is no such."""
    channel = registry.load(place.backend).traits.channels[0]
    return channels.needs(channel) if channel in channels.FAR else ()


# --- asking ---------------------------------------------------------------------------------------------------------


def asked(away: Away, words: Sequence[str], **more: Any) -> bytes:
    """As cli/there.py reads it."""
    seated = {"name": away.place, "settings": dict(away.within)} if away.within else None
    return json.dumps({"words": list(words), "work": away.work, "seated": seated, **more}).encode()


def ask(away: Away, words: Sequence[str], *, out: int = 1, err: int = 2, **more: Any) -> int:
    """Run `elsewhere` with these words there, its output on these descriptors; its exit status.

    `more`: as cli/there.py reads it (env, at, fetch). Interrupted here, it is interrupted there. PlaceError: it cannot
    be reached; what was asked may have been done. Vacant: the machine is gone, or about to go.
    """
    if away.seat:
        from elsewhere.controller import hired

        return hired.ask(away, words, out, err, **more)
    backend = registry.build(Place(away.place, away.backend, away.settings))
    if not isinstance(backend, Seats):
        raise UsageError(f"no controller can sit at {away.place}")
    found = backend.seat(away.host)
    request = asked(away, words, **more) + b"\n"
    return found.host.follow(seat.asking(away.directory, away.we), request, out, err)
