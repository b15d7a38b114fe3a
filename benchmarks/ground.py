"""Where a run of the benchmarks keeps its things: task lists, fresh state directories, what the C compiler made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PYTHON = sys.executable
ELSEWHERE = str(Path(sys.executable).with_name("elsewhere"))


class Ground:
    """One directory for one run; on a real disk, or syncing would cost nothing. Gone at the end."""

    def __init__(self, under: Path | None = None, small: bool = False) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="elsewhere-bench-", dir=under or os.environ.get("TMPDIR", "/var/tmp")))
        self.small = small
        self.homes = 0
        self.home = self.path
        self.exits = ExitStack()
        """What was started for this run, and is ended with it."""

    def close(self) -> None:
        self.exits.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def sized(self, n: int) -> int:
        """How many tasks a row takes: `n`, or few where it is only to be seen that it runs."""
        return min(n, 300) if self.small else n

    def program(self, name: str) -> Path:
        return PROGRAMS / name

    def env(self) -> dict[str, str]:
        """Variables for a command of ours, with a state directory in which nothing ever was."""
        shutil.rmtree(self.home, ignore_errors=True) if self.homes else None
        self.homes += 1
        self.home = self.path / f"home-{self.homes}"
        self.home.mkdir(mode=0o700)
        return {"ELSEWHERE_HOME": str(self.home), "PYTHONPATH": ""}

    def ledger_bytes(self) -> int:
        """Size of all ledgers in the newest state directory, with what SQLite keeps beside them."""
        return sum(path.stat().st_size for path in self.home.glob("jobs/*/ledger.db*"))

    def fresh(self, name: str) -> Path:
        """A path at which nothing is."""
        path = self.path / name
        for one in self.path.glob(name + "*"):
            one.unlink()
        return path

    def tasks(self, n: int, form: str = "jsonl") -> Path:
        """A task list of `n` tasks, each with a small mapping as data."""
        path = self.path / f"tasks-{n}.{form}"
        if not path.exists():
            with path.open("w") as file:
                if form == "yaml":
                    for k in range(n):
                        file.write(f"- task_id: task-{k:07d}\n  data:\n    x: {k}\n    name: file-{k}.img\n")
                else:
                    rows = (json.dumps({"task_id": f"task-{k:07d}", "data": {"x": k, "name": f"file-{k}.img"}})
                            for k in range(n))  # fmt: skip
                    if form == "json":
                        file.write("[\n")
                        for k, row in enumerate(rows):
                            file.write((",\n" if k else "") + row)
                        file.write("\n]\n")
                    else:
                        file.writelines(row + "\n" for row in rows)
        return path

    def lines(self, n: int) -> Path:
        path = self.path / f"lines-{n}.txt"
        if not path.exists():
            path.write_text("".join(f"{k}\n" for k in range(n)))
        return path

    def compiled(self, name: str) -> Path | None:
        """A program of ours in C; None where there is no compiler."""
        target = self.path / name
        compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
        if not target.exists():
            if compiler is None:
                return None
            subprocess.run([compiler, "-O2", "-o", target, PROGRAMS / f"{name}.c"], check=True)
        return target
