"""Requirements that are paths: what is made of them, and kept, is of what lies there now."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from elsewhere.api.furnishing import furnish
from elsewhere.errors import ConfigError
from elsewhere.model.job import Environment
from elsewhere.model.place import Place
from ship.wheels import wheel

pytestmark = pytest.mark.slow
FAR = Place("cloud", "aws")
BUILDER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from ship.wheels import wheel
def build_wheel(folder, *_):
    return wheel(Path(folder), "mine", "1.0", Path("mine.py").read_text()).name
"""


@pytest.fixture(autouse=True)
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


def project(folder: Path, body: str, builder: str = BUILDER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(body)
    (folder / "builder.py").write_text(builder.format(tests=str(Path(__file__).parent.parent)))
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "builder"\nbackend-path = ["."]\n'
    )
    return folder


def software(cwd: Path, *pip: str) -> tuple[str, ...]:
    found: tuple[str, ...] = furnish(Environment(pip=pip), FAR, cwd, sys.executable).fields["software"]
    return found


def body(pin: str) -> str:
    name, _, address = pin.partition(" @ file://")
    assert name == "mine"
    with zipfile.ZipFile(address) as archive:
        return archive.read("mine.py").decode()


def test_a_project_is_built_once_for_what_is_in_it(tmp_path: Path) -> None:
    first, other = project(tmp_path / "first", "x = 1"), project(tmp_path / "other", "x = 2")
    [one], [two] = software(first, "."), software(other, ".")
    assert (body(one), body(two)) == ("x = 1", "x = 2")
    (first / "results.txt").touch()
    assert software(first, ".") == (one,), "what is not in its wheel does not count"
    assert software(first, f"mine @ {other.as_uri()}") == (two,)
    project(first, "x = 3")
    assert [body(pin) for pin in software(first, ".")] == ["x = 3"]


def test_a_wheel_that_was_built_again_under_its_name_is_another(tmp_path: Path) -> None:
    for text in ("x = 1", "x = 2"):
        wheel(tmp_path, "mine", "1.0", text)
        assert [body(pin) for pin in software(tmp_path, "./mine-1.0-py3-none-any.whl")] == [text]


def test_what_cannot_be_built_is_said_in_its_builders_words(tmp_path: Path) -> None:
    broken = project(tmp_path / "broken", "", "def build_wheel(folder, *_): raise OSError('no compiler for it')")
    with pytest.raises(ConfigError, match=r"no wheel can be built of .*broken:(.|\n)*no compiler for it"):
        software(broken, ".")
