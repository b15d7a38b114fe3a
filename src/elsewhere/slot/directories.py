"""The scratch and checkpoint directories of a task: made on first use, removed when nobody can want them any more.

Names of tasks are the user's, so they are made harmless before they become names of files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def safe(name: str) -> str:
    """A file name for a task id: itself where it can be, otherwise with a digest, so that no two are the same."""
    if 0 < len(name) <= 100 and name[0] not in ".-" and _SAFE.issuperset(name):
        return name
    from hashlib import sha256

    kept = "".join(c if c in _SAFE else "_" for c in name[:60])
    return f"_{kept}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class Directories:
    """Those of one task, while one attempt at it runs."""

    def __init__(self, words: dict[str, Any], name: str) -> None:
        self._scratch = os.path.join(words["scratch"], f"{os.path.basename(words['directory'])}.{words['slot']}")
        self._checkpoint = os.path.join(words["checkpoints"], safe(name))

    def scratch(self) -> str:
        if not os.path.isdir(self._scratch):
            os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        return self._scratch

    def checkpoint(self) -> str:
        try:
            os.mkdir(self._checkpoint, 0o700)
        except OSError:
            os.makedirs(self._checkpoint, mode=0o700, exist_ok=True)
        return self._checkpoint

    def tidy(self, succeeded: bool, keep_scratch: bool = False) -> None:
        """After an attempt: scratch is emptied, or goes; the checkpoint goes when it is empty or the task succeeded."""
        if not keep_scratch or not _is_empty(self._scratch):
            remove(self._scratch)
        if succeeded:
            remove(self._checkpoint)
        else:
            try:
                os.rmdir(self._checkpoint)
            except OSError:
                pass


def _is_empty(directory: str) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def remove(directory: str) -> None:
    """Whatever lies there; what cannot be removed stays. Nothing is loaded for an empty one."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError:
        from shutil import rmtree

        rmtree(directory, ignore_errors=True)
