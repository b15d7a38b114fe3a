"""What users write: scripts, run by a bare interpreter in a directory of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from api.scripts import Scripts


def test_functions_classes_and_globals_of_a_script_travel_by_value(script: Scripts) -> None:
    done = script(
        """
        from dataclasses import dataclass
        from elsewhere import remote

        @dataclass
        class Point:
            x: int

        factor = 2

        def helper(x):
            return x * factor

        @remote
        def f(p):
            return Point(helper(p.x))

        print(f(Point(3)), isinstance(f(Point(3)), Point))
        factor = 5
        print(f(Point(3)))
        """
    )
    assert done.stdout.splitlines() == ["Point(x=6) True", "Point(x=15)"]


def test_a_script_needs_no_main_guard_and_a_module_beside_it_is_found(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        "from elsewhere import remote\n@remote\ndef g(x): return x + 1\ndef h(x): return -x\n"
    )
    done = script(
        """
        import beside
        from elsewhere import remote
        print("main runs", beside.g(1), list(remote(beside.h).map([1, 2])))
        """
    )
    assert done.stdout == "main runs 2 [-1, -2]\n"


def test_what_was_submitted_is_finished_when_the_script_ends(script: Scripts, tmp_path: Path) -> None:
    script(
        """
        import pathlib, time
        from elsewhere import remote
        @remote
        def f(x):
            time.sleep(0.2)
            pathlib.Path(f"made-{x}").touch()
        for x in range(3):
            f.submit(x)
        """
    )
    assert sorted(path.name for path in tmp_path.glob("made-*")) == ["made-0", "made-1", "made-2"]


def test_a_script_typed_into_the_interpreter_works_too(tmp_path: Path) -> None:
    text = "from elsewhere import remote\nf = remote(lambda x: x + 1)\nprint(f(1))\n"
    done = subprocess.run([sys.executable], input=text, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n", done.stderr


def test_results_of_an_earlier_process_are_found_by_the_function_s_name(script: Scripts) -> None:
    script("from elsewhere import remote\n@remote\ndef fit(x): return (x, x)\nprint(list(fit.map(range(3))))\n")
    done = script(
        """
        import elsewhere
        job = elsewhere.attach("fit")
        print(job.state, job.counts.complete, job.ok, [(r.id, r.value) for r in job.results()])
        """,
        name="other.py",
    )
    assert done.stdout == "succeeded True True [('fit-1', (0, 0)), ('fit-2', (1, 1)), ('fit-3', (2, 2))]\n"


def test_an_interrupt_stops_the_call_and_the_script_leaves_nothing_running(tmp_path: Path) -> None:
    text = """
import os, signal, sys, time
from elsewhere import remote
@remote
def f():
    open("pid", "w").write(str(os.getpid()))
    time.sleep(600)
future = f.submit()
while not os.path.exists("pid") or not open("pid").read():
    time.sleep(0.01)
future.cancel()
g = remote(time.sleep)
signal.setitimer(signal.ITIMER_REAL, 0.3)
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
try:
    g(600)
except KeyboardInterrupt:
    print("interrupted")
"""
    (tmp_path / "s.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "s.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("interrupted\n", 0), done.stderr
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_importing_remote_loads_nothing_but_names() -> None:
    code = "import sys; a = set(sys.modules); from elsewhere import remote; print(*set(sys.modules) - a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "elsewhere", "elsewhere.api", "elsewhere.api.remote"}
