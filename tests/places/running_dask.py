"""A Dask cluster that somebody else has put up: a scheduler and workers as processes of their own, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOUND = 60.0


class Running:
    """`port`: of its scheduler, the same after it was started again."""

    def __init__(self, folder: Path, workers: int = 2, threads: int = 1) -> None:
        self.folder, self.count, self.threads, self.port = folder, workers, threads, 0
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        told = self.folder / "scheduler.json"
        told.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port),
                                     "--scheduler-file", str(told))  # fmt: skip
        end = time.monotonic() + BOUND
        while not told.exists() or not told.read_bytes():
            assert time.monotonic() < end and self.scheduler.poll() is None
            time.sleep(0.05)
        self.port = int(json.loads(told.read_bytes())["address"].rpartition(":")[2])
        for _ in range(self.count):
            self.workers.append(self._start("worker", "dask_worker", f"tcp://{self.address}", "--host", "127.0.0.1",
                                            "--nthreads", str(self.threads), "--no-nanny", "--death-timeout", "30",
                                            "--local-directory", str(self.folder / "scratch")))  # fmt: skip
        self._until_there()

    def _start(self, log: str, module: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *words], stdout=out, stderr=out,
                cwd=self.folder, env={**os.environ, "DASK_DISTRIBUTED__WORKER__RESOURCES": "{}"},
            )  # fmt: skip

    def _until_there(self) -> None:
        from distributed import Client

        with Client(f"tcp://{self.address}", timeout=BOUND, set_as_default=False) as client:
            client.wait_for_workers(self.count, timeout=BOUND)

    def kill(self) -> None:
        """The scheduler, and then the workers."""
        for process in [*([self.scheduler] if self.scheduler else []), *self.workers]:
            process.kill()
            process.wait()
        self.workers.clear()


@contextmanager
def running(folder: Path, workers: int = 2, threads: int = 1) -> Iterator[Running]:
    found = Running(folder, workers, threads)
    try:
        found.start()
        yield found
    finally:
        found.kill()
