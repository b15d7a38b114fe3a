"""Packages of the system, and an environment that cannot be used: programs of these tests stand for apt's."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.agent import environments
from elsewhere.agent.furnish import furnish
from elsewhere.agent.steps import CannotFurnish
from elsewhere.model.job import Entry, JobSpec
from elsewhere.ship import prefix
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


# --- setup lines that jobs may share ----------------------------------------------------------------------------------


def set_up(base: Path, job: str, lines: tuple[str, ...], env: dict[str, str] | None = None) -> tuple[Path, int]:
    """The environment of such a job on a host, and how often its lines were run up to now in all jobs."""
    from elsewhere.ship import kept

    own = base / "jobs" / job
    code = own / "code" / "0"
    code.mkdir(parents=True)
    (code / "part.txt").write_text((base / "part.txt").read_text())
    count = f"echo x >>{base}/count"
    spec = JobSpec(job, "x", Entry("command"), cwd=str(code), setup=(count, *lines), env=env or {},
                   setup_mark=kept.mark_of_lines(lines, code))  # fmt: skip
    made = furnish(Charter(spec, ""), own)
    return Path(made.python).parent.parent, len((base / "count").read_text().split())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "part.txt").write_text("1")
    return tmp_path


def test_lines_that_only_make_the_environment_are_run_once_for_all(base: Path) -> None:
    lines = ('cat part.txt >"$VIRTUAL_ENV/mark"',)
    first, _ = set_up(base, "job-1", lines)
    assert base / "jobs" in first.parents, "what they do is not known before"
    second, count = set_up(base, "job-2", lines)
    third, same = set_up(base, "job-3", lines)
    assert second == third and second.parent == base / "environments" and count == same == 2
    assert (third / "mark").read_text() == "1"
    (base / "part.txt").write_text("2")
    changed, _ = set_up(base, "job-4", lines)
    assert base / "jobs" in changed.parents and (changed / "mark").read_text() == "2"


@pytest.mark.parametrize(
    "line", ["echo made >made.txt", 'echo "$PWD" >"$VIRTUAL_ENV/mine.pth"', 'ln -s "$PWD/part.txt" "$VIRTUAL_ENV/part"']
)
def test_lines_that_change_the_code_or_point_there_are_run_for_each_job(base: Path, line: str) -> None:
    for number in (1, 2, 3):
        made, count = set_up(base, f"job-{number}", (line,))
        assert made.parent == base / "jobs" / f"job-{number}" and count == number


def test_variables_that_lines_name_are_part_of_what_they_make(base: Path) -> None:
    lines = ('echo "$SORT" >"$VIRTUAL_ENV/mark"',)
    for number in (1, 2):
        made, _ = set_up(base, f"job-{number}", lines, {"SORT": "a", "OTHER": str(number)})
    assert (made / "mark").read_text() == "a\n" and made.parent == base / "environments"
    other, _ = set_up(base, "job-3", lines, {"SORT": "b"})
    assert (other / "mark").read_text() == "b\n"


def test_what_lines_write_is_not_what_they_read(base: Path) -> None:
    from elsewhere.ship import kept

    lines = ("cat part.txt >>made.txt", "wc <part.txt >made.txt")
    before = kept.mark_of_lines(lines, base)
    (base / "made.txt").write_text("made")
    assert kept.mark_of_lines(lines, base) == before
    (base / "part.txt").write_text("2")
    assert kept.mark_of_lines(lines, base) != before


def test_an_empty_environment_has_its_packages_where_its_interpreter_looks_for_them(tmp_path: Path) -> None:
    environments._empty(tmp_path / "made")
    assert environments._site_of_empty(tmp_path / "made") == prefix.site_of(tmp_path / "made")
