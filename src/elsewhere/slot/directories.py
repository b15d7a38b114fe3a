"""The scratch and checkpoint directories of a task: made on first use, removed when nobody can want them any more.

Names of tasks are the user's, so they are made harmless before they become names of files.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_PLAIN = stat.S_IFDIR | 0o700


def safe(name: str) -> str:
    """A file name for a task id: itself where it can be, otherwise with a digest, so that no two are the same."""
    if 0 < len(name) <= 100 and name[0] not in ".-" and _SAFE.issuperset(name):
        return name
    from hashlib import sha256

    kept = "".join(c if c in _SAFE else "_" for c in name[:60])
    return f"_{kept}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _of_slot(words: dict[str, Any]) -> str:
    return f"{os.path.basename(words['directory'])}.{words['slot']}"


class Spare:
    """An empty directory that a slot keeps, and that becomes a checkpoint by its name: to make one costs far more.

    While a task runs it bears the task's name, so that what is in it outlives the slot.
    """

    def __init__(self, words: dict[str, Any]) -> None:
        self._path = os.path.join(words["checkpoints"], f".{_of_slot(words)}")  # no task's: see `safe`
        remove(self._path)

    def give(self, target: str) -> bool:
        """It stands at `target` now. False: it does not, since there is none, or what an earlier attempt has left."""
        try:
            os.rename(self._path, target)
        except OSError:
            return False
        return True

    def take_back(self, target: str) -> bool:
        """Keep `target` for another task. False, and it stays: it is not as one that was just made."""
        try:
            if os.lstat(target).st_mode != _PLAIN or os.listdir(target):
                return False
            os.rename(target, self._path)
        except OSError:
            return False
        return True


class Directories:
    """Those of one task, while one attempt at it runs."""

    def __init__(self, words: dict[str, Any], name: str, spare: Spare | None = None) -> None:
        self._scratch = os.path.join(words["scratch"], _of_slot(words))
        self._checkpoint = os.path.join(words["checkpoints"], safe(name))
        self._spare = spare

    def scratch(self) -> str:
        if not os.path.isdir(self._scratch):
            os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        return self._scratch

    def checkpoint(self) -> str:
        if self._spare is not None and self._spare.give(self._checkpoint):
            return self._checkpoint
        try:
            os.mkdir(self._checkpoint, 0o700)
        except OSError:
            os.makedirs(self._checkpoint, mode=0o700, exist_ok=True)
        return self._checkpoint

    def tidy(self, succeeded: bool, keep_scratch: bool = False) -> None:
        """After an attempt: scratch is emptied, or goes; the checkpoint goes when it is empty or the task succeeded."""
        if not keep_scratch or not _is_empty(self._scratch):
            remove(self._scratch)
        if self._spare is not None and self._spare.take_back(self._checkpoint):
            return
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
