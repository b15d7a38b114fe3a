"""What an agent keeps of what it has said, on a disk that fills up."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from elsewhere.channels.journal import Journal
from elsewhere.errors import StateError


def test_on_a_full_disk_nothing_more_is_kept_and_what_is_confirmed_is_forgotten_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that confirms comes beside others, which are to be heard."""

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path / "journal")
    first, second = journal.add(b"one"), journal.add(b"two")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        journal.confirm(first)
        with pytest.raises(StateError, match="No space left"):
            journal.add(b"three")
    assert list(journal.pending) == [second]
    third = journal.add(b"three")
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.pending == {first: b"one", second: b"two", third: b"three"}
    again.close()
