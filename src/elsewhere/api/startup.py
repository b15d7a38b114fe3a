"""The user's own startup script, read and checked before anything is made; and the job whose machines run it.

What it does on a machine stands in ship/startup.py and api/hosting.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from elsewhere.errors import UsageError
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Place
from elsewhere.ship.startup import LONGEST


def read(path: Path) -> str:
    """The script in a file. UsageError: it is not there, or no script that bash could run."""
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        raise UsageError(
            f"the startup script {path} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="Nothing was started.",
        ) from None
    try:
        return checked(data.decode(), str(path))
    except UnicodeDecodeError:
        raise UsageError(f"the startup script {path} is not UTF-8", hint="Nothing was started.") from None


def checked(text: str, name: str) -> str:
    """The script with the line ends of Unix. `name`: what to call it in a complaint, a UsageError."""
    text = text.replace("\r\n", "\n")
    first = text.partition("\n")[0].rstrip()
    wrong = ""
    if not text.strip():
        wrong = "is empty; it must start a worker: python3 my_worker.py"
    elif "\0" in text:
        wrong = "holds a NUL byte, so it is no script"
    elif len(text.encode()) > LONGEST:
        wrong = f"has {len(text.encode()):,} bytes, and {LONGEST:,} are the most; let it fetch what is large"
    elif first.startswith("#!") and first.split()[-1].rpartition("/")[2] != "bash":
        wrong = f"begins with {first!r}, and is run by bash; leave that line out, or write #!/bin/bash"
    if wrong:
        raise UsageError(f"the startup script {name} {wrong}", hint="Nothing was started.")
    return text


def check_place(place: Place) -> None:
    """UsageError: nothing boots there."""
    from elsewhere.backends import registry

    if registry.load(place.backend).traits.shared_files:
        raise UsageError(
            f"{place.name} boots no machines, so there is nobody to run a startup script",
            hint="Say where with --on aws; here, the worker runs by itself: python3 my_worker.py --tasks tasks.json",
        )


def with_startup(spec: JobSpec, text: str, name: str) -> JobSpec:
    """The job of a task list whose function is that of the worker which this script starts."""
    bare: dict[str, Any] = {"cwd": "", "path": (), "python": "", "software": (), "apt": (), "setup": (), "inputs": ()}
    entry = Entry("function", "", name=f"the worker of {name}")
    return replace(spec, entry=entry, startup=text, seed_door=True, retry=replace(spec.retry, asks=None), **bare)
