"""`python -m elsewhere.api.dask.post`, on a host that does not see our files: become a worker of a cluster.

What it is told comes on standard input. The host's own software is settled as it would be by whoever sat there
(containers.py); the present directory is the project, beside which lie the certificates.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from elsewhere.api.dask import furnished
from elsewhere.api.dask.containers import Asked, Container, Site, settle, shape_of
from elsewhere.backends import registry
from elsewhere.errors import ElsewhereError
from elsewhere.model.job import Environment
from elsewhere.model.place import Place
from elsewhere.ship import kept, visit
from elsewhere.ship.certificates import papers
from elsewhere.ship.dask_worker import Workers, render


def plain(words: Mapping[str, Any]) -> dict[str, Any]:
    """What a container was asked for by, as values that travel."""
    found: dict[str, Any] = msgspec.to_builtins(dict(words))
    return found


def asked(words: Mapping[str, Any]) -> Asked:
    """The same again."""
    environment = words.get("environment")
    if isinstance(environment, dict):
        words = {**words, "environment": msgspec.convert(environment, Environment)}
    return Asked(**words)


def here(tag: str, words: Mapping[str, Any], directory: Path, path: tuple[str, ...] = ()) -> Container:
    """The container of a tag, settled on this host. Errors as of `settle`."""
    place = Place("local", "local")
    return settle(tag, asked(words), Site(place, registry.build(place), directory, Path.cwd(), path))


def at_home() -> None:
    """From now on our state directory is that of all who sit on this host (controller/seat.py)."""
    os.environ["ELSEWHERE_HOME"] = str(Path(sys.prefix).parent / "home")


def settled(found: Container) -> dict[str, Any]:
    """What whoever asked keeps of it."""
    return {"python": found.python, "env": dict(found.env), "software": found.software, "boxed": bool(found.plan)}


def _again(told: Mapping[str, Any], own: Path, path: tuple[str, ...]) -> Container:
    """As it was settled before; a container is again, since our directory is mounted in it, and what never was."""
    before, words = told.get("settled"), asked(told["words"])
    if "charter" in told:
        return furnished.here(told["charter"], told["tag"], words, own)
    if before is None or before["boxed"]:
        return here(told["tag"], told["words"], own, path)
    shape = shape_of(told["tag"], words)
    folder = Path(before["python"]).parent.parent
    if folder.parent == Path(sys.prefix).parent.parent / kept.FOLDER:  # it stays as long as we do
        kept.used(folder, os.environ["ELSEWHERE_MACHINE"])
    return Container(told["tag"], shape, words.threads, before["python"], before["env"], before["software"])


def main() -> NoReturn:
    told = json.load(sys.stdin)
    at_home()
    own, tag = Path.cwd().parent.parent, told["tag"]
    path = tuple(str(Path.cwd() / part) for part in told["path"])
    try:
        found = _again(told, own, path)
    except ElsewhereError as error:
        sys.stderr.write(f"{error.message} {error.hint or ''}\n")
        sys.exit(error.exit_status)
    text = render(
        Workers(
            told["cluster"], tag, told["scheduler"], papers(own / visit.PAPERS), own, found.python, found.shape.cpus,
            found.threads, found.shape.memory, str(Path.cwd()), path, found.env, found.plan,
            ("--host", told["host"]), lifetime=told["lifetime"], logs=False,
        ),
        told["number"], datetime.fromisoformat(told["start_by"]),
    )  # fmt: skip
    os.execv("/bin/sh", ["sh", "-c", text])


if __name__ == "__main__":
    main()
