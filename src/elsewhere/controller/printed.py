"""What tasks printed far away comes home: segments in the job's store, into the files that a local job would have.

Each segment is a part of one file, named by where it begins; writing it twice, or from two processes, does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

from elsewhere.channels.output import BOOTS, OUTPUT, PAGES, Segment, boot_of, page_of, parse
from elsewhere.errors import NotFound
from elsewhere.hosts import private_directory
from elsewhere.stores import Store


class Printed:
    """Mirrors the output of all agents of a job below `slots`."""

    def __init__(self, store: Store, slots: Path, boots: Path) -> None:
        self.store, self.slots, self.boots = store, slots, boots
        self._have: set[str] = set()

    def bring(self, agent: str = "") -> int:
        """Fetch what is new (of one agent, or all); how many bytes. Unreachable: what came so far is kept."""
        came = 0
        for key in self.store.list(f"{OUTPUT}{agent + '/' if agent else ''}"):
            segment = parse(key)
            if key in self._have or segment is None:
                continue
            if not self._is_here(segment):
                came += self._write(segment, self.store.get(key))
            self._have.add(key)
        return came

    def bring_pages(self) -> None:
        """What each slot was running when its agent last said so."""
        for key in self.store.list(PAGES):
            found = page_of(key)
            if found is not None:
                path = self.slots / found[0] / found[1]
                private_directory(path.parent)
                path.write_bytes(self.store.get(key))

    def bring_boots(self) -> None:
        """What the boot of each machine has said so far, as far as it was sent."""
        for key in self.store.list(BOOTS):
            if boot_of(key):
                self._keep_boot(key)

    def boot(self, agent: str) -> bytes:
        """The same of one machine, now; empty: it has sent nothing. Unreachable, like the others."""
        try:
            return self._keep_boot(f"{BOOTS}{agent}")
        except NotFound:
            return b""

    def _keep_boot(self, key: str) -> bytes:
        data = self.store.get(key)
        private_directory(self.boots)
        path = self.boots / boot_of(key)
        path.write_bytes(data)
        path.chmod(0o600)
        return data

    def _path(self, segment: Segment) -> Path:
        return self.slots / segment.agent / segment.file

    def _is_here(self, segment: Segment) -> bool:
        try:
            return self._path(segment).stat().st_size >= segment.end
        except OSError:
            return False

    def _write(self, segment: Segment, data: bytes) -> int:
        path = self._path(segment)
        private_directory(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, data, segment.begin)
        finally:
            os.close(fd)
        return len(data)
