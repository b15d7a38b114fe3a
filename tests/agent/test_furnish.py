"""Packages of the system, and an environment that cannot be used: programs of these tests stand for apt's."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.agent.furnish import furnish
from elsewhere.agent.steps import CannotFurnish
from elsewhere.model.job import Entry, JobSpec
from elsewhere.ship.charter import Charter

APT = """#!/bin/sh
echo "$* by ${https_proxy:-nobody}" >>"$APT_LOG"
case $* in *install*gone*) echo "E: Unable to locate package gone"; exit 100;; esac
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = {"dpkg-query": '#!/bin/sh\n[ "$3" = there ]\n', "apt-get": APT, "sudo": '#!/bin/sh\nshift\nexec "$@"\n'}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("APT_LOG", str(tmp_path / "said"))
    return tmp_path / "said"


def job(**fields: object) -> Charter:
    return Charter(JobSpec("job-1", "x", Entry("command"), **fields), "")  # type: ignore[arg-type]


def test_what_is_there_is_not_installed_again(said: Path, tmp_path: Path) -> None:
    furnish(job(apt=("there",)), tmp_path)
    assert not said.exists()


def test_what_is_missing_is_installed_through_the_job_s_own_proxy(said: Path, tmp_path: Path) -> None:
    furnish(job(apt=("there", "lib"), env={"https_proxy": "http://proxy", "SECRET": "x"}), tmp_path)
    update, install = said.read_text().splitlines()
    assert update == "-q update by http://proxy"
    assert install == "-q install -y --no-install-recommends -- lib by http://proxy"


def test_what_cannot_be_installed_is_said_in_apt_s_own_words(said: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotFurnish, match="Unable to locate package gone"):
        furnish(job(apt=("gone",)), tmp_path)


def test_an_environment_whose_activation_fails_is_said(said: Path, tmp_path: Path) -> None:
    hooks = tmp_path / "mine" / "etc" / "conda" / "activate.d"
    hooks.mkdir(parents=True)
    (tmp_path / "mine" / "conda-meta").mkdir()
    (hooks / "a.sh").write_text("echo no licence >&2; exit 3\n")
    with pytest.raises(CannotFurnish, match="cannot be activated: no licence"):
        furnish(job(prefix=str(tmp_path / "mine")), tmp_path)
    (hooks / "a.sh").write_text("export DATA=$CONDA_PREFIX/data\n")
    spec = furnish(job(prefix=str(tmp_path / "mine"), python="/agent/python"), tmp_path)
    assert (spec.env["DATA"], spec.python) == (f"{tmp_path / 'mine'}/data", "/agent/python")
