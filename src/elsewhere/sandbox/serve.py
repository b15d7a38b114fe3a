"""A sandbox's process: take the directory, clear away what a killed one left, serve until asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from elsewhere.errors import UsageError
from elsewhere.sandbox import machines, state
from elsewhere.sandbox.cloud import Cloud, Settings
from elsewhere.sandbox.walls import Walls


def serve(settings: Settings, ready: Callable[[state.Found], None]) -> None:
    """Serve until `down`, SIGTERM or SIGINT; nothing is left when it returns. UsageError: one is up already."""
    path = state.made()
    with state.held(path) as ours:
        if not ours:
            raise UsageError("a sandbox is up already", hint="`elsewhere sandbox status` shows it; `down` ends it.")
        sweep(path)
        path = state.made()
        cloud = Cloud(path, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: cloud.over.set())
        try:
            cloud.start()
            state.write(path, cloud.found)
            ready(cloud.found)
            cloud.over.wait()
        finally:
            cloud.close()
            state.remove(path)


def sweep(path: Path) -> None:
    """End the machines of a sandbox that was killed, and remove its files. Call it while holding the directory."""
    folder = path / "machines"
    found = state.find(path)
    if found and folder.is_dir():
        machines.kill([f"{found.mark}-{home.name}" for home in folder.iterdir()])
        Walls(found.mark).close()
    state.remove(path)
