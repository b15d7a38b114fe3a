"""What of a cluster goes to machines that do not see our files, and what comes back: project, software, last words."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.errors import UsageError
from elsewhere.hosts import private_directory
from elsewhere.ship import bundle, codec, visit
from elsewhere.ship.certificates import Papers
from elsewhere.ship.dask_worker import log_of

if TYPE_CHECKING:
    from elsewhere.api.dask.records import Record
    from elsewhere.model.place import Place
    from elsewhere.ship.bundle import Bundle


def project() -> Bundle:
    """The present directory, as it is found there under visit.PROJECT. UsageError: it is all that one has."""
    root = Path.cwd()
    if root in (Path("/"), Path.home()):
        raise UsageError(f"all of {root} would travel to the machines", hint="Run this from your project.")
    return bundle.code({visit.PROJECT: root})


def path() -> list[str]:
    """Those directories of our path that travel, as they are seen from the project."""
    root = Path.cwd().resolve()
    return [str(Path(one).relative_to(root)) for one in codec.import_path() if Path(one).is_relative_to(root)]


def certificates(papers: Papers) -> Papers:
    """As they are found from the project there."""
    return Papers(*(f"../../{visit.PAPERS}/{Path(path).name}" for path in asdict(papers).values()))


def environment(named: Any, place: Place) -> Any:
    """As it is in the settings of here, its software resolved here: each machine builds the same. UsageError,
    ConfigError: it cannot be."""
    from elsewhere.api import furnishing
    from elsewhere.api.dask import versions

    if isinstance(named, str) and named:
        from elsewhere.config import load

        named = load.current().environment(named)
    if not named or named.image or named.prefix:
        return named
    pip = tuple(Path(named.pip).read_text().splitlines()) if isinstance(named.pip, str) else named.pip
    ours = versions.here()
    whole = replace(named, pip=(*pip, f"distributed=={ours.dask}"), python=named.python or ours.python)
    found, _ = furnishing.resolved(whole, place, Path.cwd(), sys.executable)
    return replace(whole, pip=found.pins, conda=found.conda, channels=(), capture=False)


def keep(record: Record, name: str, data: bytes) -> None:
    """What TAG-N has said, where all of it is looked for."""
    tag, _, number = name.rpartition("-")
    path = log_of(record.directory, tag, number)
    private_directory(path.parent)
    path.write_bytes(data)
