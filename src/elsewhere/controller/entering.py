"""Brings a person to a place: what must be there before a command can be run by hand in a container, and the words.

No place is named here: what one must be able to do stands in `Enters` (backends/newcomers.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from elsewhere.agent import inside
from elsewhere.backends.newcomers import Enters, Threshold
from elsewhere.errors import Refused, UsageError
from elsewhere.hosts import Host
from elsewhere.model.job import Box
from elsewhere.model.resources import Resources
from elsewhere.ship import bundle, runtime
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.images import form_of, path_of
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive, fetching

LIMIT = timedelta(minutes=30)
"""For what must come there first: an image may be large."""
_PLAIN = '[ -n "$1" ] && { cd -- "$1" || exit 125; }; shift; [ $# -gt 0 ] || set -- "${SHELL:-/bin/sh}" -l; exec "$@"'


def words(
    place: Enters, box: Box | None, command: Sequence[str], terminal: bool, shape: Resources | None = None
) -> Sequence[str]:
    """The words to run here, so that `command` (none: a shell) runs there; in a container, once it is there.

    PlaceError: it cannot be reached. UsageError: the container cannot be had.
    """
    there = place.threshold()
    _check_files(there, command)
    if box is None:
        return place.enter(["sh", "-c", _PLAIN, "sh", there.work, *command], terminal, shape)
    begin, moved = _settled(place, there, box)
    order = inside.Order(moved, there.work, shell=True)
    return place.enter([*begin, inside.pack(order).decode(), *command], terminal, shape)


def having(place: Enters, box: Box, shape: Resources | None = None) -> Sequence[str]:
    """The words to run here, so that the image is there, unpacked as its runtime wants it. Twice: harmless."""
    begin, moved = _settled(place, place.threshold(), box)
    return place.enter([*begin, inside.pack(inside.Order(moved)).decode()], False, shape)


def python(place: Enters) -> str:
    """The interpreter there by which our own programs run; brought, if there is none of ours. Twice: harmless."""
    there = place.threshold()
    if there.python or there.host is None:
        return there.python
    return _brought(place, there.host, there, {})


def _check_files(there: Threshold, command: Sequence[str]) -> None:
    """UsageError: one of these words is a file of here, and there is none of that name there."""
    files = [word for word in command[1:] if not word.startswith(("/", "-")) and Path(word).is_file()]
    if there.host is None or not files:
        return
    looks = 'cd -- "$1" || exit; shift; for one do [ -e "$one" ] || echo "$one"; done'
    lacks = there.host.run(["sh", "-c", looks, "sh", there.work, *files]).out.decode("utf-8", "replace").splitlines()
    if lacks:
        raise UsageError(f"{lacks[0]} lies here, and not in {there.work} on {there.host.name}",
                         hint="Copy it there; or use `elsewhere run`, which takes your files along.")  # fmt: skip


def _settled(place: Enters, there: Threshold, box: Box) -> tuple[list[str], Box]:
    """The words that start what runs a command in a container there, and the container as it is called there."""
    if there.python or there.host is None:
        return [there.python, "-m", "elsewhere.agent.inside"], box
    sent = _sent(box)
    _brought(place, there.host, there, sent)
    paths = {path: f"{there.directory}/{_ROOM}/{_folder(one)}/{Path(path).name}" for path, one in sent.items()}
    form, image = form_of(box.image), path_of(box.image)
    mounts = tuple(replace(one, source=paths.get(one.source, one.source)) for one in box.mounts)
    moved = replace(box, image=f"{form}:{paths[image]}" if image in paths else box.image, mounts=mounts)
    return ["sh", f"{there.directory}/{_ROOM}/{_begin()}"], moved


_ROOM = "inside"
"""Below the place's directory there."""
_BEGIN = 'read -r python <"$0.python"; PYTHONPATH="${{0%/*}}/{agent}" exec "$python" -m elsewhere.agent.inside "$@"'


def _sent(box: Box) -> dict[str, Bundle]:
    """What travels for it: an image that is a file here, and what is mounted that was named as seen from here."""
    wanted = [path_of(box.image)] if form_of(box.image) else []
    wanted += [mount.source for mount in box.mounts if mount.sent]
    return {path: bundle.given(Path(path)) for path in wanted}


def _folder(one: Bundle) -> str:
    return f"given-{one.digest[:16]}"


def _begin() -> str:
    """Of our version: what an older one has left there is not ours."""
    return f"begin-{runtime.runtime(own()).digest[:16]}"


def _brought(place: Enters, host: Host, there: Threshold, sent: Mapping[str, Bundle]) -> str:
    """Our agent, a Python for it, and these; the path of that Python. What starts the agent is a file there (`_begin`).

    Twice: what is there stays. Refused: the last thing that was said.
    """
    processors = host.run(["uname", "-m"]).out.decode("ascii", "replace").strip()
    target = Target(own().python, {"aarch64": "arm64"}.get(processors, processors))
    agent, uv = runtime.runtime(target), runtime.bringer(target)
    place.bring(host.name, {one.key: one.path for one in (agent, uv, *sent.values()) if one is not None})
    archives = [Archive(agent.key, agent.digest, f"agent-{agent.digest[:16]}")]
    archives += [Archive(one.key, one.digest, _folder(one)) for one in sent.values()]
    brings = None if uv is None else Archive(uv.key, uv.digest, f"uv-{uv.digest[:16]}")
    begin = _begin()
    text = f"""\
umask 077
HERE={shlex.quote(f"{there.directory}/{_ROOM}")}; mkdir -p "$HERE" && cd "$HERE" || exit 73
{fetching(place.ground().fetch, archives, target.python, brings, "exit 74")}\
command -v "$python" >{begin}.$$ && mv -f {begin}.$$ {begin}.python
echo {shlex.quote(_BEGIN.format(begin=begin, agent=archives[0].folder))} >{begin}.$$ && mv -f {begin}.$$ {begin}
cat {begin}.python
"""
    done = host.run(["sh", "-c", text], timeout=LIMIT)
    said = done.out.decode("utf-8", "replace").strip()
    if not done.ok:
        last = (done.err.decode("utf-8", "replace").strip() or said).splitlines()[-1:]
        raise Refused(f"{host.name}: our program cannot be put there: {last[0] if last else done.status}",
                      hint="It needs room there, and a Python of this minor version or a way to one.")  # fmt: skip
    return said.rpartition("\n")[2]
