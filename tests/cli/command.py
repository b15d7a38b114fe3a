"""The real command as a subprocess, with a state directory and a working directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 60.0


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """`shell("run", "--", "true")` runs `elsewhere run -- true` there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "work"
        self.home = directory / "state"
        self.directory.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ELSEWHERE_")}
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "NO_COLOR"):
            kept.pop(name, None)
        self.env = {**kept, "ELSEWHERE_HOME": str(self.home), "HOME": str(directory), "TERM": "xterm"}
        self.patience = PATIENCE

    def __call__(self, *words: str, input: bytes | None = None, env: dict[str, str] | None = None) -> Ran:
        ran = subprocess.run(
            [sys.executable, "-m", "elsewhere", *words],
            cwd=self.directory,
            env={**self.env, **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=self.patience,
        )
        return Ran(ran.returncode, ran.stdout.decode("utf-8", "replace"), ran.stderr.decode("utf-8", "replace"))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The command, still running; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "elsewhere", *words],
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def tasks(self, count: int, name: str = "tasks.jsonl") -> Path:
        return self.write(name, "".join(f'{{"task_id": "t{k}", "data": {{"x": {k}}}}}\n' for k in range(1, count + 1)))


def end(process: subprocess.Popen[bytes]) -> None:
    """End what `start` began, if it is still there, and close its pipes."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
