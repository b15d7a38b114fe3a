"""Julia here: which one, where it comes from, what its project gets. The program is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

import elsewhere
from elsewhere.errors import ConfigError, UsageError
from elsewhere.model.job import Environment, Julia
from elsewhere.ship import julia
from elsewhere.ship.runtime import Target, own
from ship.julia import VERSION, server


@pytest.fixture(autouse=True)
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JULIAUP_SERVER", server(tmp_path / "server"))


def test_a_version_goes_with_the_project_that_stands_here_and_a_path_names_one(tmp_path: Path) -> None:
    assert julia.read("1.10", tmp_path) == Julia("1.10")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Project.toml").write_text('[compat]\njulia = "^1.9, 1.10"\n')
    assert (
        julia.read("sub", tmp_path) == julia.read("sub/Project.toml", tmp_path) == Julia("1.9", str(tmp_path / "sub"))
    )
    assert julia.read("1.10", tmp_path / "sub") == Julia("1.10", str(tmp_path / "sub"))
    with pytest.raises(UsageError, match="nowhere is neither a version nor a project"):
        julia.read("nowhere", tmp_path)


def test_the_newest_stable_release_of_a_version_is_brought() -> None:
    assert f"julia-{VERSION}-linux" in julia.address("1.10", own())
    assert julia.address("", own()) == julia.address(VERSION, own())
    with pytest.raises(UsageError, match=r"there is no Julia 1\.1 for"):
        julia.address("1.1", own())
    with pytest.raises(UsageError, match="for riscv64"):
        julia.address("1.10", Target("3.12", "riscv64"))


def test_without_its_index_machines_must_have_julia(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JULIAUP_SERVER", (tmp_path / "none").as_uri())
    assert julia.address("1.10", own()) == ""
    with pytest.raises(ConfigError, match=r"there is no julia 1\.10 here"):
        julia.ready(Julia("1.10"), julia.Given(tmp_path / "kept"))


def test_a_script_finds_julia_and_the_packages_of_its_project(tmp_path: Path) -> None:
    (tmp_path / "Project.toml").write_text('[deps]\nExample = "7876af07-990d-54b4-ab0e-23690620f79a"\n')
    (tmp_path / "elsewhere.yaml").write_text(
        "environments:\n  jl: {julia: '1.10'}\njobs:\n  fit: {script: fit.jl 7, environment: jl}\n"
    )
    (tmp_path / "fit.jl").write_text("a script\n")
    done = elsewhere.Project.load("elsewhere.yaml").run()["fit"]
    assert done.stdout == f"fit.jl 7 by julia {VERSION} with Example\n"
    assert not (tmp_path / "Manifest.toml").exists(), "the user's own directory stays as it is"
    assert elsewhere.run(["julia", "x"], environment=Environment(julia="1.10")).stdout.startswith("x by julia")
    assert len(list((tmp_path / "home" / "environments").glob("*/.whole"))) == 2, "Julia, and the packages"


def test_a_project_that_cannot_be_made_ready_is_said_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "Project.toml").write_text('[deps]\nMissing = "7876af07-990d-54b4-ab0e-23690620f79a"\n')
    with pytest.raises(ConfigError, match="expected package Missing to be registered"):
        elsewhere.run(["julia", "x"], environment=Environment(julia="1.10"))
