"""SHIP containers: which runtime a machine has, and the words by which it runs something in an image. Rootless first.

One table of kinds; what differs between them stands there and nowhere else. Images are had in images.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from elsewhere.errors import UsageError
from elsewhere.model.job import Box, Found, Mount

LABEL = "elsewhere.slot"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A runtime. `words`: those before the image, but for what the others say."""

    program: str
    package: str
    words: Callable[[Found], list[str]]
    bind: str
    """The option for one mount."""
    enter: str
    """That for the working directory."""
    gpus: tuple[str, ...] = ()
    flag: str = ""
    """Passes a variable on by its name. Without it the runtime's own environment is passed on..."""
    prefix: str = ""
    """...less what does not begin with this, which is cut off; empty: as it is."""
    named: bool = False
    """It names, limits and remembers its containers: a daemon or a monitor of its own keeps them."""
    read_only: bool = True
    """It can mount so that nobody writes."""
    dividers: str = ":"
    """What may not be in a path, as its command line says how paths are divided by them."""
    forms: tuple[str, ...] = ()
    """Kinds of image files that it takes."""


def _engine(found: Found) -> list[str]:
    user = "0:0" if found.root else f"{os.geteuid()}:{os.getegid()}"
    home = [] if found.root else ["--env", "HOME=/tmp"]
    memory = ["--ipc=host"] if Path("/dev/mqueue").is_dir() else []  # which that shares, too
    return [
        "run", "--rm", "--pull=never", "--log-driver=none", "--network=host", *memory,
        "--security-opt=label=disable", "--entrypoint", "", "--user", user, *home,
    ]  # fmt: skip


def _apptainer(_found: Found) -> list[str]:
    return ["exec", "--cleanenv", "--no-home"]


def _charliecloud(_found: Found) -> list[str]:
    return ["--no-passwd"]


_ARCHIVES = ("docker-archive", "oci-archive")
KINDS = {
    "podman": Kind("podman", "podman", _engine, "--volume", "--workdir", ("--device", "nvidia.com/gpu=all"),
                   flag="--env", named=True, forms=_ARCHIVES),
    "docker": Kind("docker", "docker.io", _engine, "--volume", "--workdir", ("--gpus", "all"),
                   flag="--env", named=True, forms=_ARCHIVES),
    "apptainer": Kind("apptainer", "apptainer", _apptainer, "--bind", "--pwd", ("--nv",), prefix="APPTAINERENV_",
                      dividers=":,", forms=(*_ARCHIVES, "sif")),
    "singularity": Kind("singularity", "singularity-ce", _apptainer, "--bind", "--pwd", ("--nv",),
                        prefix="SINGULARITYENV_", dividers=":,", forms=(*_ARCHIVES, "sif")),
    "charliecloud": Kind("ch-run", "charliecloud", _charliecloud, "--bind", "--cd", read_only=False,
                         forms=_ARCHIVES),
}  # fmt: skip
"""In the order in which they are looked for: those first that need no daemon."""


def look(wanted: str = "", form: str = "", path: str | None = None) -> tuple[str, str]:
    """(kind, path of its program): the one that is wanted, else the first that is here and takes such an image file.

    UsageError: there is none; it says what was looked for.
    """
    import shutil

    path = path or f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/usr/local/bin"
    able = those_for(wanted, form)
    for kind in able:
        if program := shutil.which(KINDS[kind].program, path=path):
            return kind, program
    raise none_of(able, "here")


def those_for(wanted: str = "", form: str = "") -> list[str]:
    """Kinds that would do: the one that is wanted, else all that take such an image file. UsageError: it takes none."""
    able = [kind for kind in ([wanted] if wanted else KINDS) if not form or form in KINDS[kind].forms]
    if not able:
        raise UsageError(f"{wanted} takes no image file of the kind {form}",
                         hint=f"Those that do: {', '.join(k for k in KINDS if form in KINDS[k].forms)}.")  # fmt: skip
    return able


def none_of(able: Sequence[str], where: str) -> UsageError:
    """What is to be said where none of them is there."""
    names = ", ".join(dict.fromkeys(KINDS[kind].program for kind in able))
    first = KINDS[able[0]].package
    return UsageError(
        f"no container runtime is installed {where}; looked for {names}",
        hint=f"On Debian and Ubuntu: apt install {first}. On a cluster, ask for a module: module avail {able[-1]}.",
    )


def plan(
    box: Box, mounts: Iterable[Mount], names: Collection[str] = (), gpus: bool = False
) -> dict[str, Any]:  # fmt: skip
    """What a keeper must know (slot/keeper.py) to run something in this box, whose `found` is there. Plain values.

    UsageError: the runtime cannot mount one of these.
    """
    found = box.found
    assert found is not None
    kind = KINDS[found.kind]
    words = [found.program, *_without(kind.words(found), box.options)]
    for mount in least([*box.mounts, *mounts]):
        words += [kind.bind, _bound(mount, kind, found.kind)]
    words += [*(kind.gpus if gpus else ()), *box.options]
    ask = [found.program, "inspect", "--format", "{{.State.Pid}}"] if kind.named else []
    return {
        "words": words, "enter": kind.enter, "flag": kind.flag, "prefix": kind.prefix, "names": sorted(names),
        "name": "--name" if kind.named else "", "label": ["--label", LABEL + "={}"] if kind.named else [],
        "limit": "--memory" if found.kind == "docker" else "", "ask": ask,
        "remove": [found.program, "rm", "--force"] if kind.named else [],
        "image": [found.image, "--"] if found.kind == "charliecloud" else [found.image], "env": dict(found.env),
    }  # fmt: skip


def attended(words: Sequence[str], kind: str, terminal: bool) -> list[str]:
    """Words of a plan, for a container at whose standard input somebody is, perhaps by a terminal."""
    also = ["--interactive", *["--tty"] * terminal] if KINDS[kind].named else []
    return [*words[:2], *also, *words[2:]]


def _without(words: list[str], options: Sequence[str]) -> list[str]:
    """Ours give way to an option of the user's of the same name."""
    typed = {option.partition("=")[0] for option in options}
    return [word for word in words if "=" not in word or word.partition("=")[0] not in typed]


def _bound(mount: Mount, kind: Kind, name: str) -> str:
    for text in (mount.source, mount.target):
        if bad := [c for c in (*kind.dividers, "\n", "\0") if c in text]:
            raise UsageError(f"{name} cannot mount {text}: there is a {bad[0]!r} in its path", hint="Rename it.")
    if mount.writable or not kind.read_only:
        return f"{mount.source}:{mount.target}"
    return f"{mount.source}:{mount.target}:ro"


def least(mounts: Iterable[Mount]) -> list[Mount]:
    """The same without those that others bring along; where two are of one target, who may write there may."""
    found: dict[str, Mount] = {}
    for mount in mounts:
        before = found.get(mount.target)
        if before is None or (mount.writable and not before.writable and mount.source == before.source):
            found[mount.target] = mount
    plain = [one for one in found.values() if one.source == one.target]
    return [found[target] for target in sorted(found) if not any(_brings(one, found[target]) for one in plain)]


def _brings(outer: Mount, inner: Mount) -> bool:
    same = inner.source == inner.target and (outer.writable or not inner.writable)
    return same and inner.target.startswith(outer.target.rstrip("/") + "/")


def box_of(
    image: str, mounts: Iterable[tuple[str, str]], runtime: str, options: Sequence[str], cwd: Path
) -> Box:  # fmt: skip
    """As it was written, with paths seen from `cwd`. UsageError: what is wrong with it, as far as it can be seen."""
    if runtime and runtime not in KINDS:
        raise UsageError(f"there is no container runtime {runtime!r}", hint=f"Known: {', '.join(KINDS)}.")
    from elsewhere.ship.images import form_of, path_of

    if form_of(image):
        path = cwd / Path(path_of(image)).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no image file {path}", hint="Nothing was started.")
        image = f"{form_of(image)}:{path}"
    return Box(image, tuple(_mount(source, target, cwd) for source, target in mounts), runtime, tuple(options))


def _mount(source: str, text: str, cwd: Path) -> Mount:
    target, _, mode = text.partition(":")
    parts = PurePosixPath(target)
    if not parts.is_absolute() or ".." in parts.parts or parts == PurePosixPath("/") or mode not in ("", "ro", "rw"):
        raise UsageError(f"the mount of {source} must say where, as /data or /data:ro, not {text!r}")
    path = Path(source).expanduser()
    sent = not path.is_absolute()
    return Mount(os.path.normpath(cwd / path), str(parts), mode != "ro", sent)


def check_mounts(box: Box) -> None:
    """UsageError: what is to be mounted is not here, or cannot be mounted as it was asked."""
    for mount in box.mounts:
        if not Path(mount.source).exists():
            raise UsageError(f"there is no {mount.source} here, which is to be mounted at {mount.target}")
    if box.found is not None:
        kind = KINDS[box.found.kind]
        for mount in box.mounts:
            _bound(mount, kind, box.found.kind)
            if not (mount.writable or kind.read_only):
                raise UsageError(
                    f"{box.found.kind} cannot mount {mount.target} so that nobody writes there",
                    hint=f"Write {mount.target} without :ro, or install another runtime.",
                )


def make_targets(image: Path, mounts: Iterable[Mount]) -> None:
    """Places for these in an unpacked image that is ours; of a runtime that makes none itself.

    UsageError: a link of the image stands in the way: followed, it would lead out.
    """
    for mount in mounts:
        path = image
        parts = PurePosixPath(mount.target).parts[1:]
        if parts[:1] in (("tmp",), ("dev",), ("proc",), ("sys",)):
            continue  # the machine's own
        for part in parts:
            path /= part
            if path.is_symlink():
                raise UsageError(f"{mount.target} cannot be mounted: {path.relative_to(image)} is a link in the image")
            if path == image.joinpath(*parts) and not Path(mount.source).is_dir():
                path.touch(exist_ok=True)
            else:
                path.mkdir(exist_ok=True)


def sweep(box: Box | None, mark: str) -> None:
    """After its process was killed: what the runtime still has of its containers goes. Again: harmless."""
    found = box.found if box is not None else None
    if found is None or not KINDS[found.kind].named:
        return
    import subprocess

    asked = [found.program, "ps", "--all", "--quiet", "--filter", f"label={LABEL}={mark}"]
    for _ in range(_TRIES):  # of one whose monitor was killed, Podman first says only that
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not (ids := done.stdout.split()):
            return
        words = [found.program, "rm", "--force", *ids]
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
