"""The distribution `elsewhere-compat`: its names are those of doors that are there, and run once it is installed."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from elsewhere.cli.compat import DOORS
from project.test_install import TOP, call

COMPAT = TOP / "packages" / "compat"
PROJECT = tomllib.loads((COMPAT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_bare_name_is_a_door_that_is_there_and_every_door_has_one() -> None:
    assert {name.removesuffix("_bootstrap") for name in PROJECT["scripts"]} == set(DOORS)
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_it_has_the_version_of_the_package() -> None:
    assert PROJECT["version"] == version("elsewhere")
    assert PROJECT["dependencies"] == [f"elsewhere>={PROJECT['version']}"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_gives_the_bare_name(tmp_path: Path) -> None:
    for folder in (TOP, COMPAT):
        call(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "dist", folder)
    [ours] = (tmp_path / "dist").glob("elsewhere-*.whl")
    [compat] = (tmp_path / "dist").glob("elsewhere_compat-*.whl")
    names = {name.partition("/")[0] for name in zipfile.ZipFile(compat).namelist()}
    assert names == {"elsewhere_compat", f"elsewhere_compat-{PROJECT['version']}.dist-info"}
    bare, home = tmp_path / "bare", tmp_path / "home"
    call(sys.executable, "-m", "venv", bare)
    pins = TOP / "constraints" / "dev.txt"
    call(bare / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", "-c", pins, ours, compat)
    cloud_tasks = bare / "bin" / "cloud_tasks"
    assert call(cloud_tasks, "--help", home=home).startswith("usage: cloud_tasks ")
    (tmp_path / "my_tasks.json").write_text('[{"task_id": "a", "data": {}}, {"task_id": "b", "data": {}}]')
    job = ("--provider", "aws", "--job-id", "mine")
    assert call(cloud_tasks, "load_queue", *job, "--tasks", "my_tasks.json", cwd=tmp_path, home=home) == (
        "mine: 2 tasks loaded\n"
    )
    assert call(cloud_tasks, "show_queue", *job, home=home).startswith("Queue mine: 2 tasks\n")
