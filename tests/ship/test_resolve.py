"""From an environment to exact versions, and to an interpreter on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from elsewhere.api.furnishing import furnish
from elsewhere.errors import ConfigError, UsageError
from elsewhere.model.job import Environment
from elsewhere.model.place import Place
from elsewhere.ship import resolve
from elsewhere.ship.runtime import own, uv
from ship.wheels import wheel

BETA = "import alpha\ndef main():\n    print('beta', alpha.VALUE)\n"
FAR, HERE = Place("cloud", "aws"), Place("local", "local")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels instead of an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "alpha", "1.0", "VALUE = 1\n")
    wheel(folder, "alpha", "2.0", "VALUE = 2\n")
    wheel(
        folder, "beta", "1.5", "import alpha\ndef main():\n    print('beta', alpha.VALUE)\n", ["alpha<2"], program=True
    )
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    return folder


def test_requirements_become_exact_versions_with_all_that_they_need(tmp_path: Path) -> None:
    made = furnish(Environment(pip=("beta",)), FAR, tmp_path, sys.executable)
    assert made.fields["software"] == ("alpha==1.0", "beta==1.5")
    assert made.fields["python_version"] == own().python
    assert made.python == ""


@pytest.mark.parametrize("pins", [["beta==1.5", "Alpha==1.0"], "pins.txt"])
def test_what_was_named_exactly_is_not_resolved_again_and_all_else_is(
    tmp_path: Path, shop: Path, pins: str | list[str]
) -> None:
    (tmp_path / "pins.txt").write_text("# all of it\n\nbeta==1.5\nAlpha==1.0\n")
    exact, open_ = Environment(pip=pins if isinstance(pins, str) else tuple(pins)), Environment(pip=("alpha",))
    first = furnish(exact, FAR, tmp_path, sys.executable)
    assert furnish(open_, FAR, tmp_path, sys.executable).fields["software"] == ("alpha==2.0",)
    wheel(shop, "alpha", "3.0", "VALUE = 3\n")
    for path in shop.glob("beta*"):
        path.unlink()  # so that nobody could resolve it now
    assert furnish(exact, FAR, tmp_path, sys.executable).fields["software"] == first.fields["software"]
    assert furnish(open_, FAR, tmp_path, sys.executable).fields["software"] == ("alpha==3.0",)


def test_a_file_of_requirements_may_refer_to_another(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_text("alpha>=2\n")
    made = furnish(Environment(pip="requirements.txt", python="3.12"), FAR, tmp_path, sys.executable)
    assert (made.fields["software"], made.fields["python_version"]) == (("alpha==2.0",), "3.12")


def test_what_cannot_be_resolved_is_said_in_the_resolvers_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alpha") as caught:
        furnish(Environment(pip=("beta", "alpha>=2")), FAR, tmp_path, sys.executable)
    assert caught.value.exit_status == 2
    assert "cannot be resolved for Python" in caught.value.message
    assert "beta" in caught.value.message and "alpha" in caught.value.message


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (Environment(pip="requirments.txt"), "there is no file of requirements"),
        (Environment(python="3"), "must be a minor version"),
        (Environment(apt=("libgomp1; rm -rf /",)), "is no name of a package"),
    ],
)
def test_a_wrong_word_is_answered(environment: Environment, said: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    with pytest.raises(UsageError, match=said) as caught:
        furnish(environment, FAR, tmp_path, sys.executable)
    assert said != "there is no file of requirements" or "requirements.txt" in caught.value.hint


@pytest.mark.parametrize(
    ("pin", "refused"),
    [
        ("alpha @ https://me:hush@host/alpha.whl", True),
        ("alpha @ git+https://token@host/alpha.git", True),
        ("alpha @ https://me:${HUSH}@host/alpha.whl", False),
        ("alpha @ git+ssh://git@host/alpha.git", False),
        ("alpha==1.0", False),
    ],
)
def test_no_password_stands_in_the_address_of_a_requirement(
    pin: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s\\n' '{pin}'\n")
    program.chmod(0o700)
    monkeypatch.setattr(resolve, "uv", lambda: str(program))
    if not refused:
        assert furnish(Environment(pip=("alpha",)), FAR, tmp_path, sys.executable).fields["software"] == (pin,)
        return
    with pytest.raises(UsageError, match="the requirement alpha has a password") as caught:
        furnish(Environment(pip=("alpha",)), FAR, tmp_path, sys.executable)
    assert "hush" not in str(caught.value) and "token@" not in str(caught.value)


def test_here_it_is_built_once_and_programs_are_there(tmp_path: Path) -> None:
    environment = Environment(pip=("beta",), setup=('echo "built $VIRTUAL_ENV" >> count',))
    first = furnish(environment, HERE, tmp_path, sys.executable)
    again = furnish(environment, HERE, tmp_path, sys.executable)
    assert first.python == again.python and not first.fields
    folder = Path(first.python).parent.parent
    assert (tmp_path / "count").read_text() == f"built {folder}\n"
    done = subprocess.run([folder / "bin" / "beta"], capture_output=True, text=True, check=True)
    assert done.stdout == "beta 1\n"


def test_a_build_that_fails_here_shows_its_last_lines_each_time(
    tmp_path: Path,
) -> None:
    broken = Environment(setup=("echo first", "echo no compiler >&2; exit 3"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="no compiler"):
            furnish(broken, HERE, tmp_path, sys.executable)


def test_packages_of_the_system_are_not_installed_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this machine has no no-such-package-4711") as caught:
        furnish(Environment(apt=("no-such-package-4711",)), HERE, tmp_path, sys.executable)
    assert "apt install" in caught.value.hint


def test_capture_takes_what_an_interpreter_has_and_its_sources(tmp_path: Path, shop: Path) -> None:
    made = furnish(Environment(pip=("alpha==2.0",)), HERE, tmp_path, sys.executable)
    sources = tmp_path / "sources"
    sources.mkdir()
    [site] = (Path(made.python).parent.parent / "lib").glob("python*/site-packages")
    (site / "mine.pth").write_text(f"{sources}\n")
    pins, roots = resolve.capture(made.python)
    assert (pins, roots) == (("alpha==2.0",), (str(sources),))
    far = furnish(Environment(capture=True), FAR, tmp_path, made.python)
    assert (far.fields["software"], far.path) == (("alpha==2.0",), (str(sources),))


def test_a_lock_file_is_taken_at_its_word(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(
        'lock-version = "1.0"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        '[[packages]]\nname = "gone"\nversion = "9"\nmarker = "sys_platform == \'win32\'"\n'
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = ["alpha<2"]\n'
    )
    subprocess.run([uv(), "lock", "--quiet", "--project", tmp_path], check=True)
    for name in ("pylock.toml", "uv.lock"):
        made = furnish(Environment(pip=name), FAR, tmp_path, sys.executable)
        assert made.fields["software"] == ("alpha==1.0",)
    with pytest.raises(ConfigError, match="is no lock file"):
        furnish(Environment(pip="pyproject.toml"), FAR, tmp_path, sys.executable)


def test_a_wheel_that_there_is_not_for_the_machines_is_named(tmp_path: Path, shop: Path) -> None:
    wheel(shop, "delta", "1.0", "VALUE = 1\n").rename(shop / "delta-1.0-cp39-cp39-macosx_11_0_arm64.whl")
    for machine in ("x86_64", "arm64"):
        with pytest.raises(ConfigError, match="delta") as caught:
            furnish(Environment(pip=("delta",)), FAR, tmp_path, sys.executable, architecture=machine)
        assert machine in caught.value.message and "wheel" in caught.value.message


def test_what_cannot_be_imported_for_want_of_a_library_is_said_when_it_is_built(tmp_path: Path, shop: Path) -> None:
    wheel(shop, "needy", "1.0", "raise ImportError('libnone.so.1: cannot open shared object file')\n")
    wheel(shop, "moody", "1.0", "raise RuntimeError('not without a display')\n")
    furnish(Environment(pip=("moody",)), HERE, tmp_path, sys.executable)
    with pytest.raises(ConfigError, match=r"needy: libnone\.so\.1"):
        furnish(Environment(pip=("needy",)), HERE, tmp_path, sys.executable)


def test_no_other_interpreter_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of that name, on PATH, may be a program that takes long to find another."""
    other, mark = tmp_path / "bin" / f"python{own().python}", tmp_path / "asked"
    other.parent.mkdir()
    other.write_text(f"#!/bin/sh\n: >{mark}\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    made = furnish(Environment(pip=("beta",)), FAR, tmp_path, sys.executable)
    assert made.fields["software"] and not mark.exists()
