"""The wheel and the source archive install into a bare environment and run; the pins hold no address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def call(*words: str | Path, cwd: Path | None = None, home: Path | None = None) -> str:
    """What a command prints; its complaint, if it fails, is the test's."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if home is not None:
        environment |= {"ELSEWHERE_HOME": str(home), "HOME": str(home), "NO_COLOR": "1"}
    line = [str(word) for word in words]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source archive; the wheel is built from the source archive."""
    directory = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, TOP)
    return directory


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["*.whl", pytest.param("*.tar.gz", marks=pytest.mark.soak)])
def test_an_archive_installs_into_a_bare_environment_and_runs(archives: Path, kind: str, tmp_path: Path) -> None:
    [archive] = archives.glob(kind)
    bare = tmp_path / "bare"
    call(sys.executable, "-m", "venv", bare)
    python = bare / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", "--no-input", "-c", TOP / "constraints" / "dev.txt", archive)
    elsewhere, home = bare / "bin" / "elsewhere", tmp_path / "home"

    assert call(elsewhere, "--version", home=home).startswith("elsewhere ")
    (tmp_path / "double.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "tasks.jsonl").write_text('{"task_id": "a", "data": {"x": 1}}\n{"task_id": "b", "data": {"x": 2}}\n')
    call(elsewhere, "run", "tasks.jsonl", "--entry", "double.py:double", cwd=tmp_path, home=home)
    results = call(elsewhere, "results", "@last", cwd=tmp_path, home=home)
    assert sorted(re.findall(r'"result": ?(\d)', results)) == ["2", "4"]


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_source_archive_what_builds_and_tests_it(archives: Path) -> None:
    [wheel], [source] = archives.glob("*.whl"), archives.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"elsewhere"}
    assert {"elsewhere/py.typed", "elsewhere/slot/wire.py"} <= set(names)
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", ".ci/run", "constraints/dev.txt"} <= held
    assert {"tests/project/test_install.py", "examples/stdlib_metrics/demo.sh", "docs/conf.py"} <= held


@pytest.mark.parametrize("path", sorted((TOP / "constraints").glob("*.txt")), ids=lambda path: path.name)
def test_the_pins_are_names_and_versions_and_hold_no_address(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; [^/:@]*)?", line), line
