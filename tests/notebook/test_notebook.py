"""A notebook, executed by a real kernel: functions of cells, a running loop, an interrupt, a restart."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
run_sync = pytest.importorskip("jupyter_core.utils").run_sync
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

DEFINE = """
from elsewhere import remote
scale = 2

class Point:
    def __init__(self, x): self.x = x

def helper(x): return x * scale

@remote
def fit(x): return Point(helper(x))

fit(3).x, isinstance(fit(3), Point)
"""
CHANGE = """
scale = 10
import asyncio
assert asyncio.get_running_loop().is_running()
[fit(1).x, *(p.x for p in fit.map(range(3))), (await fit.aio(5)).x]
"""
INTERRUPTED = """
import os, time
@remote
def hang(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)
try:
    hang("pid")
except KeyboardInterrupt:
    print("interrupted")
"""
AFTER = "fit(2).x"
ATTACH = """
import elsewhere
job = elsewhere.attach("fit")
print(len(list(job.results())), job.ok, len(elsewhere.jobs()))
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    made = nbclient.NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    with made.setup_kernel():
        yield made


CELLS = [DEFINE, CHANGE, INTERRUPTED, AFTER, ATTACH]


def run(client: Any, number: int) -> str:
    cell = client.execute_cell(client.nb.cells[number], number)
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    return "".join(texts).strip()


def test_a_notebook_from_its_first_cell_to_a_restarted_kernel(client: Any, tmp_path: Path) -> None:
    assert run(client, 0) == "(6, True)"
    assert run(client, 1) == "[10, 0, 10, 20, 50]", "a changed global of the notebook is what the next call sees"

    pid = tmp_path / "pid"

    def interrupt() -> None:
        for _ in range(3000):
            if pid.exists() and pid.read_text():
                os.kill(client.km.provisioner.pid, signal.SIGINT)  # what "interrupt the kernel" does
                return
            threading.Event().wait(0.01)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    assert run(client, 2) == "interrupted"
    waiting.join(10)
    assert run(client, 3) == "20", "the slots are still warm"
    gone = Path(f"/proc/{pid.read_text()}")
    for _ in range(1000):
        if not gone.exists():
            break
        threading.Event().wait(0.01)
    assert not gone.exists(), "an interrupted call leaves nothing running"

    run_sync(client.km.restart_kernel)(now=True)
    run_sync(client.kc.wait_for_ready)(timeout=60)
    assert run(client, 4) == "8 True 1", "eight calls of fit were recorded, in one job"
