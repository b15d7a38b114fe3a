"""Environments, inputs and outputs of calls from Python, on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import elsewhere
from elsewhere.api import furnishing
from elsewhere.api.options import Options
from elsewhere.errors import ConfigError, UsageError
from elsewhere.model.job import Entry, Environment
from elsewhere.model.place import Place
from elsewhere.ship.runtime import own
from ship.wheels import wheel


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "alpha", "1.0", "VALUE = 41\ndef main():\n    print('alpha', VALUE)\n", program=True)
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_call_has_the_software_of_its_environment() -> None:
    @elsewhere.remote(environment=Environment(pip=("alpha",)), slots=1)
    def look(more: int) -> tuple[int, str]:
        import sys

        import alpha  # type: ignore[import-not-found]

        return alpha.VALUE + more, sys.prefix

    value, prefix = look(1)
    assert value == 42
    assert "/environments/" in prefix


def test_a_name_is_that_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("environments:\n  small: {pip: [alpha], setup: 'true'}\n")
    options = Options.of({"environment": "small"})
    assert options.environment == Environment(pip=("alpha",), setup=("true",))
    with pytest.raises(UsageError, match="there is no environment 'smal'") as caught:
        Options.of({"environment": "smal"})
    assert caught.value.hint == "Did you mean small?"


def test_what_cannot_be_resolved_is_raised_before_anything_is_made(tmp_path: Path) -> None:
    before = len(list(elsewhere.jobs()))
    with pytest.raises(ConfigError, match="alpha"):
        elsewhere.submit(["true"], environment=Environment(pip=("alpha==9",)))
    assert len(list(elsewhere.jobs())) == before


def test_a_command_has_the_programs_of_its_environment() -> None:
    assert elsewhere.run(["alpha"], environment=Environment(pip=("alpha",))).stdout == "alpha 41\n"


def test_calls_go_to_a_python_of_this_minor_version() -> None:
    other = "3.11" if own().python != "3.11" else "3.12"
    options = Options.of({"environment": Environment(python=other)})
    with pytest.raises(UsageError, match="minor version"):
        options.spec(Entry("call"), name="x")


def test_a_command_finds_inputs_and_leaves_outputs(tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("given")
    words = [sys.executable, "-c", "open('made', 'w').write(open('given.txt').read() + '!')"]
    job = elsewhere.run(words, inputs=["given.txt"], outputs=["made"])
    assert job.ok, job.stderr
    assert not (tmp_path / "made").exists()
    [made] = _of(job)
    assert made.read_text() == "given!"


def _of(job: elsewhere.Job) -> list[Path]:
    from elsewhere import session

    return list(session.find(job.id).outputs.rglob("made"))


def test_an_image_is_an_environment_of_its_own_or_goes_into_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(
        "environments:\n  boxed: {image: 'python:3.12', mounts: {data: '/data:ro'}, runtime: podman, "
        "runtime-options: ['--shm-size=1g']}\n"
    )
    boxed = Environment(
        image="python:3.12", mounts={"data": "/data:ro"}, runtime="podman", runtime_options=("--shm-size=1g",)
    )
    assert Options.of({"environment": "boxed"}).environment == boxed
    assert boxed.mounts == (("data", "/data:ro"),), "what stands in options can be a key"
    assert Options.of({"image": "alpine"}).environment == Environment(image="alpine")
    assert Options.of({"environment": "boxed", "image": "alpine"}).environment == replace(boxed, image="alpine")
    with pytest.raises(UsageError, match="image must be the name of an image, not 3"):
        Options.of({"image": 3})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Environment(image="i", pip=("numpy",), setup=("true",)), "an image and pip and setup are one too many"),
        (Environment(mounts={"a": "/a"}), "belong to an image, and the environment has none"),
        (Environment(image="i", runtime="dokcer"), "there is no container runtime 'dokcer'"),
        (Environment(image="i", mounts={"nowhere": "/a"}), "there is no .*/nowhere here, which is to be mounted at /a"),
        (Environment(image="oci-archive:none.tar"), "there is no image file .*/none.tar"),
    ],
)
@pytest.mark.parametrize("on", ["local", "ssh"])
def test_a_container_that_cannot_be_is_refused_before_anything_is_made(
    given: Environment, said: str, on: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        furnishing.furnish(given, Place(on, on), tmp_path, sys.executable)


def test_what_may_fetch_nothing_is_not_asked_for_packages_of_the_system(tmp_path: Path) -> None:
    given = Environment(apt=("libgomp1",), offline=True)
    with pytest.raises(UsageError, match="the environment is offline"):
        furnishing.furnish(given, Place("ssh", "ssh"), tmp_path, sys.executable)


def test_inputs_by_url_are_fetched_here_for_machines_that_may_fetch_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elsewhere.ship import inputs

    monkeypatch.setattr(inputs, "_from_web", lambda url, to: to.write_text(url) and "digest")
    found = furnishing.files(["http://host/x.txt"], (), Place("ssh", "ssh"), tmp_path, Environment(offline=True))
    assert Path(found["inputs"][0].source).read_text() == "http://host/x.txt"
    plain = furnishing.files(["http://host/x.txt"], (), Place("ssh", "ssh"), tmp_path)
    assert plain["inputs"][0].source == "http://host/x.txt"


def test_software_is_for_the_processors_that_hosts_say_they_have(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decimal import Decimal

    from elsewhere.backends import registry
    from elsewhere.backends.base import Traits
    from elsewhere.model.place import Offer, Shape
    from elsewhere.model.resources import Resources

    class Hosts:
        traits = Traits()

        def shapes(self, need: Resources) -> list[Shape]:
            return [Shape(Offer(name, need, price=Decimal(0)), 1, 1, "arm64") for name in ("a", "b")]

    monkeypatch.setattr(registry, "build", lambda place: Hosts())
    wheel(shop, "delta", "1.0", "").rename(shop / "delta-1.0-py3-none-manylinux_2_28_aarch64.whl")
    lab = Place("lab", "ssh")
    found, processors = furnishing.resolved(Environment(pip=("delta",)), lab, tmp_path, sys.executable)
    assert (found.pins, processors) == (("delta==1.0",), "arm64")
    with pytest.raises(ConfigError, match="delta"):
        furnishing.resolved(Environment(pip=("delta",)), lab, tmp_path, sys.executable, "", "x86_64")
