"""Packages of conda: from specs to exact ones, and to a prefix on this machine. The channel is a directory."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import elsewhere
from elsewhere.api.furnishing import furnish
from elsewhere.errors import ConfigError, UsageError
from elsewhere.model.job import Environment
from elsewhere.model.place import Place
from elsewhere.ship import conda, kept
from elsewhere.ship.runtime import Target
from elsewhere.ship.runtime import own as this_one
from ship import channel
from ship.wheels import wheel

pytest.importorskip("rattler")

FAR, HERE = Place("cloud", "aws"), Place("local", "local")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> channel.Channel:
    return channel.usual(tmp_path_factory.mktemp("shop") / "channel")


@pytest.fixture(autouse=True)
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


def test_a_list_of_specs_becomes_exact_packages_for_the_machines_of_the_place(shop: channel.Channel) -> None:
    asked = Environment(conda=("tool", "gamma"), channels=(shop.name,))
    made = furnish(asked, FAR, Path.cwd(), sys.executable, architecture="x86_64")
    names = [Path(line.partition("#")[0]).name for line in made.fields["conda"]]
    assert names == [f"python-{channel.VERSION}-0.tar.bz2", "gamma-2.1-0.tar.bz2", "tool-1.0-0.tar.bz2"]
    assert made.minor == channel.MINOR
    with pytest.raises(ConfigError, match="linux-aarch64") as caught:
        furnish(asked, FAR, Path.cwd(), sys.executable, architecture="arm64")
    assert "python" in caught.value.message


def test_the_python_of_an_environment_is_asked_of_conda_too(shop: channel.Channel) -> None:
    with pytest.raises(ConfigError, match=r"python 3\.8"):
        furnish(Environment(python="3.8", conda=("gamma",), channels=(shop.name,)), FAR, Path.cwd(), sys.executable)


def test_what_cannot_be_resolved_is_said_before_anything_is_made(shop: channel.Channel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tool") as caught:
        elsewhere.submit(["true"], environment=Environment(conda=("tool >=3",), channels=(shop.name,)))
    assert caught.value.hint == "mend the environment; nothing was started"
    assert not list((tmp_path / "home").glob("environments/*"))


def test_an_environment_file_has_channels_packages_and_a_part_for_pip(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text(
        "name: fit\nchannels: [conda-forge, nodefaults]\ndependencies:\n  - python=3.12\n  - numpy\n"
        "  - pip:\n    - alpha==1.0\n"
    )
    asked = conda.read("environment.yml", (), tmp_path)
    assert asked == conda.Asked(("python=3.12", "numpy"), ("conda-forge", "nodefaults"), ("alpha==1.0",))
    assert conda.read("environment.yml", ("mine",), tmp_path).channels == ("mine",)
    (tmp_path / "wrong.yml").write_text("dependencies:\n  - {npm: [left]}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yml: dependencies are packages"):
        conda.read("wrong.yml", (), tmp_path)


def test_a_file_of_addresses_is_taken_as_it_is(tmp_path: Path) -> None:
    line = f"https://somewhere/linux-64/python-3.12.4-h1_0.conda#{'a' * 64}"
    (tmp_path / "exact.txt").write_text(f"# platform: linux-64\n@EXPLICIT\n{line}\n")
    asked = conda.read("exact.txt", (), tmp_path)
    assert conda.solve(asked, Target("3.11", "x86_64"), False, tmp_path) == (line,)
    assert conda.python_of([line]) == "3.12"
    (tmp_path / "other.txt").write_text("https://somewhere/tool-1.0-0.conda\n")
    with pytest.raises(ConfigError, match="no address of a package with its SHA-256"):
        conda.read("other.txt", (), tmp_path)


@pytest.mark.parametrize(("given", "said"), [("none.yml", "there is no file of packages"), ("here", "is a directory")])
def test_a_file_that_is_not_there_is_named(given: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(UsageError, match=said):
        conda.read(given, (), tmp_path)


@pytest.mark.parametrize(
    ("name", "alias", "found"),
    [
        ("conda-forge", "", ["conda-forge"]),
        ("conda-forge", "https://mirror/conda/", ["https://mirror/conda/conda-forge"]),
        ("https://own/channel", "https://mirror", ["https://own/channel"]),
        ("nodefaults", "", []),
        ("./own", "", ["file:///work/own"]),
    ],
)
def test_channels_are_named_as_conda_names_them(
    name: str, alias: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", alias)
    assert conda._channels(name, Path("/work")) == found


def test_conda_and_pip_make_one_environment_here(
    shop: channel.Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "alpha", "1.0", "VALUE = 41\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    asked = Environment(conda=("gamma", "tool"), channels=(shop.name,), pip=("alpha",), name="both")
    made = furnish(asked, HERE, tmp_path, sys.executable)
    code = "import alpha, gamma, os, sys; print(alpha.VALUE + gamma.VALUE, sys.prefix, os.environ['GAMMA_DATA'])"
    done = subprocess.run([made.python, "-c", code], capture_output=True, text=True, env=dict(made.env), check=True)
    folder = made.env["CONDA_PREFIX"]
    assert done.stdout.split() == ["62", folder, f"{folder}/share"]
    assert elsewhere.run(["tool"], environment=asked).stdout == "tool of conda\n"
    assert elsewhere.run(["gamma"], environment=asked).stdout == "gamma 21\n"
    assert len(list((tmp_path / "home" / "environments").glob("*/.whole"))) == 1, "built once for all three"


def test_what_an_environment_of_conda_has_is_captured_exactly(shop: channel.Channel, tmp_path: Path) -> None:
    made = furnish(Environment(conda=("gamma", "tool"), channels=(shop.name,)), HERE, tmp_path, sys.executable)
    again = furnish(Environment(capture=True), FAR, tmp_path, made.python, architecture=this_one().architecture)
    names = sorted(line.partition("#")[0].rpartition("/")[2] for line in again.fields["conda"])
    assert names == ["gamma-2.1-0.tar.bz2", f"python-{channel.VERSION}-0.tar.bz2", "tool-1.0-0.tar.bz2"]
    assert again.fields["software"] == ()


def test_no_token_stands_in_the_address_of_a_package() -> None:
    for url in ("https://me:hush@host/channel/x.conda", "https://host/t/hush/channel/x.conda"):
        assert conda._SECRET.search(f"{url}#00")
    assert not conda._SECRET.search("https://conda.host/t-shirts/noarch/x@1.conda#00")


def test_an_environment_without_python_has_programs_and_nothing_for_pip(shop: channel.Channel) -> None:
    asked = Environment(conda=("tool",), channels=(shop.name,))
    assert elsewhere.run(["tool"], environment=asked).stdout == "tool of conda\n"
    with pytest.raises(UsageError, match="have no python among them"):
        furnish(Environment(conda=("tool",), channels=(shop.name,), pip=("alpha",)), HERE, Path.cwd(), sys.executable)


def test_a_package_that_is_not_what_its_channel_says_is_refused(shop: channel.Channel, tmp_path: Path) -> None:
    path = shop.folder / "noarch" / "tool-1.0-0.tar.bz2"
    with pytest.raises(ConfigError, match="is not what its index names"):
        conda.fetch([f"{path.as_uri()}#{'0' * 64}"])
    with pytest.raises(ConfigError, match="cannot be fetched"):
        conda.fetch([f"{(tmp_path / 'gone.conda').as_uri()}#{'0' * 64}"])


def test_an_environment_that_is_there_is_used_by_its_path(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "mine")], check=True)
    words = ["python", "-c", "import sys; print(sys.prefix)"]
    done = elsewhere.run(words, environment=Environment(prefix=str(tmp_path / "mine")))
    assert done.stdout == f"{tmp_path / 'mine'}\n"
    for given, said in (
        (Environment(prefix=str(tmp_path / "none")), "there is no environment"),
        (Environment(prefix="mine", pip=("alpha",)), r"\(prefix\) and pip are one too many"),
    ):
        with pytest.raises(UsageError, match=said):
            furnish(given, HERE, tmp_path, sys.executable)
    with pytest.raises(UsageError, match="no path on another machine"):
        furnish(Environment(prefix="mine"), FAR, tmp_path, sys.executable)


def test_what_a_builder_that_died_has_left_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "environments" / "a"
    folder.mkdir(parents=True)
    (folder / "half").touch()
    kept.built(folder, {"name": "x"}, lambda fresh: fresh.mkdir())
    assert kept.is_whole(folder) and not (folder / "half").exists()
    kept.built(folder, {}, lambda fresh: pytest.fail("it is there"))


def test_of_several_builders_at_once_one_builds(tmp_path: Path) -> None:
    made: list[str] = []

    def make(fresh: Path) -> None:
        fresh.mkdir()
        made.append("begun")
        time.sleep(0.2)  # long enough for the others to be at the lock
        (fresh / "whole thing").touch()

    def build(_: int) -> bool:
        kept.built(tmp_path / "environments" / "a", {}, make)
        return (tmp_path / "environments" / "a" / "whole thing").exists()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(build, range(4)))
    assert made == ["begun"]


def test_environments_lie_beside_the_directories_of_jobs(tmp_path: Path) -> None:
    for own in (".elsewhere/jobs/job-1", ".elsewhere/job-1"):
        there = kept.folder_of(tmp_path / own, "abc")
        assert (tmp_path / own / kept.beside(own)).resolve() / "abc" == there.resolve()
        assert there == tmp_path / ".elsewhere" / "environments" / "abc"
