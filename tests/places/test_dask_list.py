"""A task list on a Dask cluster that was there: our record is the truth, whatever becomes of Dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from places.running_dask import Running, running

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BOUND = 150.0
WORK = """
import os, time

def f(n, seconds=0.0):
    with open(os.path.join(os.environ["RAN"], f"{n}-{os.getpid()}-{time.time_ns()}"), "w"):
        pass
    time.sleep(seconds)
    return {"n": n}
"""


class Lab:
    def __init__(self, folder: Path, there: Running) -> None:
        self.folder, self.ran, self.home, self.there = folder / "p", folder / "ran", folder / "h", there
        for path in (self.folder, self.ran):
            path.mkdir()
        (self.folder / "work.py").write_text(WORK)

    def tasks(self, count: int, **data: object) -> str:
        lines = [json.dumps({"task_id": f"t{n}", "data": {"n": n, **data}}) for n in range(count)]
        (self.folder / "tasks.jsonl").write_text("\n".join(lines) + "\n")
        return "tasks.jsonl"

    def start(self, *words: str) -> subprocess.Popen[str]:
        env = {**os.environ, "ELSEWHERE_HOME": str(self.home), "RAN": str(self.ran)}
        return subprocess.Popen([sys.executable, "-m", "elsewhere", *words], cwd=self.folder, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)  # fmt: skip

    def run(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=BOUND)
        assert process.returncode == status, (process.returncode, out, err)
        return out + err

    def go(self, *words: str) -> tuple[str, ...]:
        return ("run", *words, "--entry", "work:f", "--env", f"RAN={self.ran}", "--on", f"dask://{self.there.address}",
                "--quiet")  # fmt: skip

    def results(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run("results").splitlines()]

    def attempts(self) -> Counter[int]:
        return Counter(int(path.name.partition("-")[0]) for path in self.ran.iterdir())

    def agents(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("ELSEWHERE_MACHINE") and str(self.home) in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "d").mkdir()
    with running(tmp_path / "d") as there:
        found = Lab(tmp_path, there)
        yield found
        for process in found.agents():
            process.kill()


def until(true: object, why: str) -> None:
    assert callable(true)
    end = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < end, f"never: {why}"
        time.sleep(0.05)


def test_after_the_scheduler_was_killed_the_list_goes_on_with_none_lost_and_none_recorded_twice(lab: Lab) -> None:
    assert "scheduler" in lab.run("places", "check", f"dask://{lab.there.address}")
    running = lab.start(*lab.go(lab.tasks(40, seconds=0.3)))
    until(lambda: len(lab.attempts()) > 3, "it runs")
    running.kill()
    running.communicate()
    lab.there.kill()
    until(lambda: not lab.agents(), "agents end with their workers")
    before = lab.attempts()
    assert len(before) < 40
    lab.there.start()
    lab.run("resume", "--quiet")
    found = lab.results()
    assert sorted(int(str(one["result"]["n"])) for one in found) == list(range(40))  # type: ignore[index]
    assert {one["state"] for one in found} == {"succeeded"}
    again = lab.attempts()
    assert set(again) == set(range(40))
    assert sum(again.values()) - 40 <= 2 * 2, "only what ran was run again"
    until(lambda: not lab.agents(), "nobody stays")
