"""A project whose place `lab` is hosts behind a real sshd, run by the command, and what its tasks leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hosts import sshd

WORK = """
import os, time
def f(n, seconds=0.02, size=1, hosts=False):
    home = os.path.basename(os.environ["HOME"])
    open(os.path.join(os.environ["HOME"], "here"), "w").close()
    marks = [os.path.join(os.path.dirname(os.environ["HOME"]), f"node{k}", "here") for k in (1, 2)]
    while hosts and not all(map(os.path.exists, marks)):
        time.sleep(0.05)
    with open(os.path.join(os.environ["RAN"], f"{n}-{os.getpid()}-{time.time_ns()}"), "w"):
        pass
    print("task", n)
    time.sleep(seconds)
    return {"n": n, "home": home, "text": "x" * size}
"""
BOUND = 240.0


class Lab:
    """A project whose place `lab` is two hosts. Each attempt of a task leaves a file in `ran`."""

    def __init__(self, folder: Path, hosts: sshd.Hosts, cache: Path, names: str = "node[1-2]") -> None:
        """`cache`: of archives, which are then made once."""
        self.hosts, self.folder, self.ran = hosts, folder / "project", folder / "ran"
        self.folder.mkdir()
        self.ran.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        cache.mkdir(exist_ok=True)
        (self.home / "cache").symlink_to(cache)
        (self.folder / "work.py").write_text(WORK)
        (self.folder / "elsewhere.yaml").write_text(
            f'places:\n  lab: {{backend: ssh, hosts: ["{names}"], slots: 2, config: "{hosts.config}"}}\n'
            f'default: {{env: {{RAN: "{self.ran}"}}}}\n'
        )

    def tasks(self, count: int, **data: object) -> str:
        lines = [json.dumps({"task_id": f"t{n}", "data": {"n": n, **data}}) for n in range(count)]
        (self.folder / "tasks.jsonl").write_text("\n".join(lines) + "\n")
        return "tasks.jsonl"

    def start(self, *words: str) -> subprocess.Popen[str]:
        env = {**os.environ, "ELSEWHERE_HOME": str(self.home)}
        return subprocess.Popen([sys.executable, "-m", "elsewhere", *words], cwd=self.folder, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)  # fmt: skip

    def run(self, *words: str, status: int | None = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=BOUND)
        assert status is None or process.returncode == status, (process.returncode, out, err)
        return out + err

    def attempts(self) -> Counter[int]:
        return Counter(int(path.name.partition("-")[0]) for path in self.ran.iterdir())

    def results(self) -> dict[str, dict[str, object]]:
        return {one["task_id"]: one for one in map(json.loads, self.run("results").splitlines())}

    def agents(self) -> list[psutil.Process]:
        """The agents' processes on all hosts: those whose home is one of ours."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "elsewhere.agent" in words and any(str(self.hosts.folder) in word for word in words):
                found.append(process)
        return found


def until(true: Callable[[], object], why: str = "it did not come") -> None:
    end = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < end, why
        time.sleep(0.05)


@contextmanager
def laboratory(folder: Path, cache: Path, *names: str) -> Iterator[Lab]:
    (folder / "s").mkdir()
    with sshd.running(folder / "s", *names) as hosts:
        found = Lab(folder, hosts, cache)
        yield found
        for process in found.agents():
            process.kill()
