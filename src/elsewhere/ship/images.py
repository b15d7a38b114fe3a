"""SHIP images: had once on each machine, under a lock, with the runtime's own words on the way; and what is in them.

What cannot be had is a UsageError with the runtime's last lines, before a task runs; `Never` if that is final.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from elsewhere.config.home import home
from elsewhere.errors import StateError, UsageError
from elsewhere.hosts import private_directory
from elsewhere.model.job import Box, Found
from elsewhere.ship import archives, containers
from elsewhere.ship.kept import alone
from elsewhere.ship.runtime import last_lines, own

SLOT = Path(__file__).resolve().parent.parent / "slot" / "__main__.py"
OLDEST = (3, 9)
_FORMS = ("docker-archive", "oci-archive", "sif")
_ASK = "import sys; print(*sys.version_info[:2], sys.executable)"
_NOT_THERE = ("executable file not found", "no such file", "not found", "can't execve")
_FINAL = (
    (("unauthorized", "access denied", "denied: requested access", "authentication required"),
     "The registry has no such image, or shows it only to who has a login: --secret DOCKER_AUTH_CONFIG sends one."),
    (("manifest unknown", "manifest_unknown", "name unknown", "name_unknown", "repository does not exist",
      "not found: manifest"), "The registry has no such image: look at its name and its tag."),
    (("did not resolve to an alias",), "Write its whole name, such as docker.io/library/python:3.12."),
    (("no image found in manifest list", "no image found in image index", "no matching manifest for",
      "requested arch unavailable", "arch not found for image"),
     "Name an image that exists for these processors."),
)  # fmt: skip
"""What Podman, Docker, Apptainer and charliecloud print where asking again will not help, and what to do."""
_LINES = 12
LOGIN = "DOCKER_AUTH_CONFIG"
"""A variable with what `docker login` writes into its config.json; the name is that of CI systems."""
_TELL = ("CH_IMAGE_", "APPTAINER_", "SINGULARITY_", "DOCKER_", "REGISTRY_AUTH_")
"""Variables that runtimes read, logins to registries among them."""


class Never(UsageError):
    """No machine of this kind will get the image, or run such tasks in it: to try again will not help."""


def form_of(image: str) -> str:
    """What kind of file it is; empty: it is a name that a registry knows."""
    head = image.partition(":")[0]
    return head if head in _FORMS else "sif" if image.endswith(".sif") else ""


def path_of(image: str) -> str:
    """That of an image file."""
    head, colon, path = image.partition(":")
    return path if colon and head in _FORMS else image


def settle(box: Box, told: bool = False, env: Mapping[str, str] | None = None) -> Box:
    """The same with what this machine makes of it: its runtime, and the image, which is had now if it is not here.

    `told`: what the runtime says of its progress goes to our standard error. `env`: the variables of tasks; a login to
    a registry that is among them, as a secret, is used. Twice: nothing is fetched again.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError("containers run on Linux: on a Mac they have a machine of their own, which shares no memory",
                         hint="Name a place with --on.")  # fmt: skip
    form = form_of(box.image)
    kind, program = containers.look(box.runtime, form)
    found = Found(kind, program, box.image, root=_is_root(kind, program))
    containers.check_mounts(replace(box, found=found))
    folder = home() / "cache" / "images"
    private_directory(folder)
    with alone(folder / f"{kind}.lock"):  # one image may come under several names
        with _login(env or {}) as also:
            if kind in ("podman", "docker"):
                found = replace(found, image=_of_engine(program, box.image, form, told, also))
            elif kind == "charliecloud":
                found = _of_charliecloud(found, box.image, form, folder, told, also)
            else:
                found = replace(found, image=_of_apptainer(program, box.image, form, folder, told, also))
        settled = replace(box, found=found)
        if kind == "charliecloud":
            containers.make_targets(Path(found.image), box.mounts)
        return replace(box, found=_with_python(settled, found, folder))


def check_kind(box: Box, kind: str) -> None:
    """UsageError: tasks of this kind cannot run in the image, as far as it was looked at."""
    found, ours = box.found, own().python
    if kind == "command" or found is None:
        return
    image = path_of(box.image)
    if not found.python:
        has = f"its Python is {found.version}" if found.version else "it has no Python"
        raise Never(f"functions cannot run in the image {image}: {has}",
                    hint="They need a Python of 3.9 or newer; commands run in any image.")  # fmt: skip
    if kind == "call" and found.version != ours:
        raise Never(
            f"calls go to a Python of this one's minor version ({ours}), and the image {image} has {found.version}",
            hint="Take an image with that Python, or run this script with the other.",
        )


def _is_root(kind: str, program: str) -> bool:
    """Whether root in its containers is us, outside."""
    if os.geteuid() == 0 or kind == "podman":  # which is rootless when we are not root
        return True
    if kind != "docker":
        return False
    return "rootless" in _said([program, "info", "--format", "{{.SecurityOptions}}"])


# -- having it


@contextmanager
def _login(env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Variables for the runtime, with files of their own for as long as this lasts."""
    also = {name: value for name, value in env.items() if name.startswith(_TELL)}
    login = also.pop(LOGIN, "")
    if not login:
        yield also
        return
    with tempfile.TemporaryDirectory() as folder:  # 0700
        path = Path(folder) / "config.json"
        path.write_text(login)
        yield {**also, "DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": str(path)}


def _of_engine(program: str, image: str, form: str, told: bool, also: Mapping[str, str]) -> str:
    """Its id."""
    name = image.removeprefix("docker://")
    if form:
        name = archives.check(Path(path_of(image)), form).id
    if not _inspected(program, name):
        if form:
            _run([program, "load", "--input", path_of(image)], f"the image {path_of(image)} cannot be loaded", told)
        else:
            _run([program, "pull", name], f"the image {name} cannot be pulled", told, also)
    about = _inspected(program, name)
    if not about:
        raise UsageError(f"{program} does not know the image {name}, which it has just taken")
    _check_processors(name, about.split()[1])
    return about.split()[0]


def _inspected(program: str, image: str) -> str:
    return _said([program, "image", "inspect", "--format", "{{.Id}} {{.Architecture}}", image])


def _check_processors(image: str, architecture: str) -> None:
    has = {"amd64": "x86_64", "aarch64": "arm64"}.get(architecture, architecture)
    if has != own().architecture:
        raise Never(f"the image {image} is for {has}, and this machine is {own().architecture}",
                    hint="Name an image that exists for these processors.")  # fmt: skip


def _of_charliecloud(found: Found, image: str, form: str, folder: Path, told: bool, also: Mapping[str, str]) -> Found:
    """Unpacked below `folder`."""
    if form:
        path = Path(path_of(image))
        about = archives.check(path, form)
        target, env = folder / about.id, about.env
        whole = target.with_suffix(".whole")
        if not whole.exists():
            archives.unpack(path, about, target)
    else:
        name = image.removeprefix("docker://")
        target = folder / sha256(name.encode()).hexdigest()
        whole, env = target.with_suffix(".whole"), {}
        if not whole.exists():
            also = {**also, "CH_IMAGE_STORAGE": str(folder / "charliecloud")}
            _run(["ch-image", "pull", name], f"the image {name} cannot be pulled", told, also)
            _run(["ch-convert", "-i", "ch-image", "-o", "dir", name, str(target)], "it cannot be unpacked", told, also)
    whole.touch()
    listed = target / "ch" / "environment"
    if not form and listed.is_file():
        env = dict(line.split("=", 1) for line in listed.read_text().splitlines() if "=" in line)
    for name in ("dev", "proc", "sys", "tmp"):
        (target / name).mkdir(exist_ok=True)
    return replace(found, image=str(target), env=env)


def _of_apptainer(program: str, image: str, form: str, folder: Path, told: bool, also: Mapping[str, str]) -> str:
    """The path of a SIF file."""
    path = path_of(image)
    if form == "sif":
        return path
    key = archives.check(Path(path), form).id if form else sha256(image.encode()).hexdigest()
    target = folder / f"{key}.sif"
    if not target.exists():
        part = target.with_suffix(".part")
        source = image if form or "://" in image else f"docker://{image}"
        _run([program, "build", "--force", str(part), source], f"the image {path} cannot be had", told, also)
        part.replace(target)
    return str(target)


# -- what is in it


def _with_python(box: Box, found: Found, folder: Path) -> Found:
    """Remembered by the image, which does not change: to look starts a container."""
    sheet = (
        folder / f"{sha256(f'{found.kind} {found.image} {box.options} {box.mounts}'.encode()).hexdigest()[:32]}.python"
    )
    with suppress(OSError, ValueError, StateError):
        version, python = json.loads(sheet.read_text())
        return replace(found, version=version, python=python)
    version, python = "", ""
    for name in ("python3", "python"):
        if words := _asked(box, name):
            version, python = f"{words[0]}.{words[1]}", words[2]
            if (int(words[0]), int(words[1])) >= OLDEST:
                break
            python = ""
    sheet.write_text(json.dumps([version, python]))
    return replace(found, version=version, python=python)


def _asked(box: Box, python: str) -> list[str]:
    """[major, minor, path] of this interpreter in it; empty: there is none. UsageError: nothing can be run there."""
    order = {**containers.plan(box, ()), "inside": [python, "-c", _ASK]}
    done = subprocess.run(
        [sys.executable, str(SLOT), "keep", json.dumps(order), "-1", "-1"],
        cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    words = done.stdout.split(None, 2)
    if done.returncode == 0 and len(words) == 3:
        return [*words[:2], words[2].strip()]
    said = done.stderr.lower()
    if done.returncode == 127 or (done.returncode != 125 and any(word in said for word in _NOT_THERE)):
        return []
    raise UsageError(f"nothing can be run in the image {path_of(box.image)} here:\n{last_lines(done.stderr)}",
                     hint="`runtime:` and `runtime-options:` of the environment say how it is run.")  # fmt: skip


# -- running a runtime


def _said(words: list[str]) -> str:
    """What a question's answer is; empty: the answer is no."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(words: list[str], failed: str, told: bool, also: Mapping[str, str] | None = None) -> None:
    last = deque[str](maxlen=_LINES)
    try:
        process = subprocess.Popen(
            words, env={**os.environ, **(also or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{failed}: {words[0]}: {error.strerror}") from error
    with process:
        for line in process.stdout or ():
            last.append(line)
            if told:
                sys.stderr.write(line)
                sys.stderr.flush()
    if process.returncode:
        said = "".join(last).rstrip()
        if why := next((hint for words, hint in _FINAL if any(word in said.lower() for word in words)), ""):
            raise Never(f"{failed}:\n{said}", hint=why)
        raise UsageError(f"{failed}:\n{said}")
