"""`make demo`, from the point where the package is installed: the standard library, module by module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "stdlib_metrics"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The demo, run once: what it printed, its status, when it began, and its results."""
    home = tmp_path_factory.mktemp("demo")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "ELSEWHERE_HOME": str(home), "PATH": path, "NO_COLOR": "1"}
    began = time.time()
    done = subprocess.run(
        ["bash", EXAMPLE / "demo.sh"], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    words = ["elsewhere", "results", "@last"]
    found = subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stdout
    results = [json.loads(line) for line in found.splitlines()]
    yield SimpleNamespace(began=began, status=done.returncode, printed=done.stdout, said=done.stderr, results=results)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_succeeds_although_one_task_fails_by_design(demo: SimpleNamespace) -> None:
    assert demo.status == 0, demo.printed + demo.said
    failed = [result for result in demo.results if result["state"] == "failed"]
    assert [result["task_id"] for result in failed] == ["broken"]
    assert failed[0]["error"]["type"] == "SyntaxError"
    assert failed[0]["attempt"] == 2, "it was tried again, and failed again"
    assert demo.said.count("failed broken: SyntaxError: '(' was never closed") == 2, "each run says why"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_shows_the_ten_largest_of_all_modules(demo: SimpleNamespace) -> None:
    succeeded = [result for result in demo.results if result["state"] == "succeeded"]
    assert len(succeeded) > 150
    largest = max(succeeded, key=lambda result: result["result"]["lines"])
    table = demo.printed.partition("longest function\n")[2].partition("\n\n")[0].splitlines()
    assert len(table) == 10
    assert table[0].split()[:2] == [largest["task_id"], str(largest["result"]["lines"])]
    assert f"{len(succeeded)} modules measured" in demo.printed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_result_of_the_demo_is_there_soon(demo: SimpleNamespace) -> None:
    first = min(datetime.fromisoformat(result["started"]).timestamp() + result["seconds"] for result in demo.results)
    print(f"first result {first - demo.began:.2f} s after the demo began")
    assert first - demo.began < 5, "1 s on a machine that does nothing else; this one may be busy"
