"""SHIP image files: what a docker-archive or an oci-archive says of itself, and its files, unpacked as a directory.

Read with the standard library alone: a machine without a daemon can run such an image by charliecloud.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from elsewhere.errors import UsageError
from elsewhere.ship.runtime import own

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Image:
    """`id`: the digest of its description, by which runtimes know it. `layers`: names in the archive, lowest first."""

    id: str
    architecture: str
    env: Mapping[str, str]
    layers: tuple[str, ...]


def read(path: Path, form: str) -> Image:
    """UsageError: it is no such archive."""
    try:
        with tarfile.open(path) as tar:
            return (_docker if form == "docker-archive" else _oci)(tar)
    except (tarfile.TarError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        why = f" ({error})" if isinstance(error, OSError) else ""
        raise UsageError(
            f"{path} is no {form}{why}", hint="Make one with `podman save --format oci-archive -o FILE IMAGE`."
        ) from error


def check(path: Path, form: str, architecture: str = "") -> Image:
    """As `read`; UsageError, too, if it is for other processors: than these, or than this machine's."""
    found = read(path, form)
    wanted = architecture or own().architecture
    if found.architecture not in ("", wanted):
        raise UsageError(
            f"the image {path} is for {found.architecture}, and tasks would run on {wanted}",
            hint=f"Save the image's variant for {wanted}.",
        )
    return found


def _docker(tar: tarfile.TarFile) -> Image:
    manifest = json.loads(_bytes(tar, "manifest.json"))[0]
    return _image(_bytes(tar, manifest["Config"]), tuple(manifest["Layers"]))


def _oci(tar: tarfile.TarFile) -> Image:
    manifest = json.loads(_blob(tar, json.loads(_bytes(tar, "index.json"))["manifests"][0]["digest"]))
    if "manifests" in manifest:  # of several kinds of machines: ours
        manifest = json.loads(_blob(tar, _of_ours(manifest["manifests"])["digest"]))
    layers = tuple(_name(layer["digest"]) for layer in manifest["layers"])
    return _image(_blob(tar, manifest["config"]["digest"]), layers)


def _of_ours(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [
        one for one in manifests if _processors(one.get("platform", {}).get("architecture", "")) == own().architecture
    ]
    return (mine or manifests)[0]


def _image(config: bytes, layers: tuple[str, ...]) -> Image:
    told = json.loads(config)
    lines = (told.get("config") or {}).get("Env") or []
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    return Image(sha256(config).hexdigest(), _processors(told.get("architecture", "")), env, layers)


def _processors(name: str) -> str:
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


def _name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    return _bytes(tar, _name(digest))


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    with file:
        return file.read()


def unpack(path: Path, image: Image, folder: Path) -> None:
    """Its files, as they stand after all layers. UsageError: something in it leads out of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        with tarfile.open(path) as tar:
            for name in image.layers:
                with tar.extractfile(name) as layer, tarfile.open(fileobj=layer) as files:  # type: ignore[union-attr]
                    for member in files:
                        _lay(files, member, folder)
    except (tarfile.TarError, OSError, KeyError, AttributeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"the image {path} cannot be unpacked: {error}") from error


def _lay(files: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One member. Python's own filters came with its later patch releases, so all that they would see to is here."""
    name = posixpath.normpath(member.name.lstrip("/"))
    head, _, last = name.rpartition("/")
    if name == "." or member.ischr() or member.isblk() or member.isfifo():
        return
    base = _inside(folder, head)
    if last == _OPAQUE:
        for path in base.iterdir():
            _remove(path)
    elif last.startswith(_WHITEOUT):
        _remove(base / last.removeprefix(_WHITEOUT))
    else:
        target = base / last
        if os.path.lexists(target) and not (member.isdir() and target.is_dir() and not target.is_symlink()):
            _remove(target)
        if member.islnk():
            member.linkname = str(_inside(folder, member.linkname).relative_to(folder.resolve()))
        member.name, member.uid, member.gid, member.uname, member.gname = name, os.geteuid(), os.getegid(), "", ""
        member.mode = member.mode & 0o777 | (0o700 if member.isdir() else 0o400)
        files.extraction_filter = lambda member, _folder: member
        files.extract(member, folder)


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name.lstrip("/")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{name} leads out of it")
    return path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
