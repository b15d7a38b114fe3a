"""Whose Python, and whether the entry is there: every way to say it, and every way to be wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elsewhere.errors import UsageError
from elsewhere.ship import environment
from elsewhere.ship.environment import Interpreter, check_entry, interpreter

OURS = Interpreter(sys.executable, (sys.version_info[0], sys.version_info[1]), "ours")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "state"))


def python(path: Path, says: str = "3 12", status: int = 0) -> Path:
    """Something that answers as an interpreter does, and notes each time that it was asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho x >>{path}.asked\necho 'it broke' >&2\necho {says}\nexit {status}\n")
    path.chmod(0o755)
    return path


def asked(path: Path) -> int:
    log = Path(f"{path}.asked")
    return len(log.read_text().split()) if log.exists() else 0


def test_the_one_that_is_named_is_taken_before_all_others(tmp_path: Path) -> None:
    named = python(tmp_path / "named" / "python3.12")
    python(tmp_path / "venv" / "bin" / "python", "3 11")
    environ = {"VIRTUAL_ENV": str(tmp_path / "venv"), "PATH": str(tmp_path / "named")}
    for explicit in (str(named), "named/python3.12", "python3.12"):
        found = interpreter(explicit, tmp_path, environ)
        assert (found.path, found.version, found.why) == (str(named), (3, 12), "named")


def test_a_directory_means_the_environment_in_it(tmp_path: Path) -> None:
    path = python(tmp_path / "venv" / "bin" / "python")
    assert interpreter("./venv", tmp_path, {}).path == str(path)


def test_then_virtual_env_then_conda_then_the_nearest_dot_venv_then_ours(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert interpreter("", below, {}) == Interpreter(sys.executable, OURS.version, "that runs Elsewhere")
    upward = python(tmp_path / "a" / ".venv" / "bin" / "python", "3 10")
    python(tmp_path / ".venv" / "bin" / "python", "3 9")
    assert interpreter("", below, {}).path == str(upward)
    conda = python(tmp_path / "conda" / "bin" / "python", "3 13")
    environ = {"CONDA_PREFIX": str(tmp_path / "conda"), "VIRTUAL_ENV": str(tmp_path / "gone")}
    assert interpreter("", below, environ) == Interpreter(str(conda), (3, 13), "of CONDA_PREFIX")
    venv = python(tmp_path / "venv" / "bin" / "python", "3 9")
    environ["VIRTUAL_ENV"] = str(tmp_path / "venv")
    assert interpreter("", below, environ) == Interpreter(str(venv), (3, 9), "of VIRTUAL_ENV")


def test_its_version_is_asked_once_and_again_when_it_changed(tmp_path: Path) -> None:
    path = python(tmp_path / "python")
    for _ in range(3):
        assert interpreter(str(path), tmp_path, {}).version == (3, 12)
    assert asked(path) == 1
    python(path, "3 13 ")
    assert interpreter(str(path), tmp_path, {}).version == (3, 13)
    assert asked(path) == 2


def test_our_own_is_not_asked_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = python(tmp_path / "python", "1 0")
    monkeypatch.setattr(sys, "executable", str(path))
    assert interpreter(str(path), tmp_path, {}).version == sys.version_info[:2]
    assert asked(path) == 0


@pytest.mark.parametrize(
    ("says", "status", "said"),
    [("3 8", 0, "is Python 3.8; tasks need 3.9 or newer"), ("hello", 0, "does not run"), ("3 12", 1, "it broke")],
)
def test_one_that_is_too_old_or_does_not_run_is_refused(tmp_path: Path, says: str, status: int, said: str) -> None:
    path = python(tmp_path / "python", says, status)
    for _ in range(2):
        with pytest.raises(UsageError, match=said) as caught:
            interpreter(str(path), tmp_path, {})
        assert "--python" in caught.value.hint


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not run"):
        interpreter("./nothing", tmp_path, {})
    with pytest.raises(UsageError, match="no 'nothing' on PATH"):
        interpreter("nothing", tmp_path, {"PATH": str(tmp_path)})


WORKER = """\
import os
print("noise on standard output")
LIMIT = 3
def process_task(x, y=1): ...
def seed(task_id, task_data, worker_data): ...
def anything(**data): ...
def none(): ...
def positional(x, /): ...
async def later(x): ...
class Callable:
    def __call__(self, x): ...
    def method(self, x): ...
made = Callable()
def __getattr__(name):
    raise AttributeError(f"module has no attribute {name!r}")
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    (tmp_path / "my_worker.py").write_text(WORKER)
    return tmp_path


@pytest.mark.parametrize("name", ["process_task", "seed", "anything", "none", "later", "made", "made.method"])
@pytest.mark.parametrize("module", ["my_worker", "my_worker.py", "./my_worker.py"])
def test_an_entry_that_is_there_is_accepted(worker: Path, module: str, name: str) -> None:
    entry, _ = check_entry(f"{module}:{name}", OURS, worker)
    assert entry.kind == "function"
    assert entry.name == name
    assert entry.target == (f"{worker / 'my_worker.py'}:{name}" if module.endswith(".py") else f"my_worker:{name}")


@pytest.mark.parametrize(
    ("target", "said", "hint"),
    [
        ("my_worker", "is not an entry", "module:function"),
        (":f", "is not an entry", "module:function"),
        ("my_worker:", "is not an entry", "module:function"),
        ("my_worker:proces_task", "my_worker has no function 'proces_task'", "did you mean my_worker:process_task?"),
        ("my_worker:LIMIT", "is not a function but of the type int", "name a function"),
        ("my_worker:positional", "takes 'x' by position only", "drop the `/`"),
        ("my_workr.py:f", "there is no file my_workr.py", "did you mean my_worker.py?"),
        ("no_such_module:f", "there is no module 'no_such_module'", "installed in that Python"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_the_nearest(worker: Path, target: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_entry(target, OURS, worker)
    assert hint in caught.value.hint
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_installed_anywhere\ndef f(): ...", "No module named 'not_installed_anywhere'"),
        ("def f(:\n    ...", "SyntaxError"),
        ("def g():\n    1 / 0\ng()\ndef f(): ...", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_an_import_that_fails_is_shown_as_the_users_own_traceback(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    for module in ("broken", "broken.py"):
        with pytest.raises(UsageError) as caught:
            check_entry(f"{module}:f", OURS, tmp_path)
        message = caught.value.message
        assert said in message
        assert "broken.py" in message
        assert str(Path(environment.__file__).parents[1]) not in message, "our own frames are left out"
        assert "importlib" not in message


def test_an_interpreter_that_dies_of_the_import_is_told(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos._exit(7)\n"
    )
    with pytest.raises(UsageError, match=r"status 7\nlast words"):
        check_entry("dies:f", OURS, tmp_path)


def test_nothing_of_the_users_is_loaded_here(worker: Path) -> None:
    check_entry("my_worker:process_task", OURS, worker)
    assert "my_worker" not in sys.modules
