"""A Python for machines that may fetch nothing: by uv itself, from a mirror whose Python is a stand-in."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from elsewhere.ship import runtime
from elsewhere.ship.runtime import Target

DATA = "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    files = {"python/bin/python3.12": "#!/bin/sh\n", "python/lib/python3.12/os.py": "",
             "python/lib/python3.12/_sysconfigdata__linux_aarch64-linux-gnu.py": DATA}  # fmt: skip
    archive = tmp_path / "python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(text), 0o755
            tar.addfile(about, io.BytesIO(text.encode()))
    one = {"name": "cpython", "arch": {"family": "aarch64", "variant": None}, "os": "linux", "libc": "gnu", "major": 3,
           "minor": 12, "patch": 5, "prerelease": "", "url": archive.as_uri(), "variant": None, "build": "20240814",
           "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}  # fmt: skip
    (tmp_path / "known.json").write_text(json.dumps({"cpython-3.12.5-linux-aarch64-gnu": one}))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "known.json"))
    return archive


def test_a_python_of_the_machines_own_kind_is_put_together_once(mirror: Path) -> None:
    made = runtime.interpreter(Target("3.12", "arm64"))
    assert made is not None
    with tarfile.open(made.path) as tar:
        assert {"bin/python3.12", "lib/python3.12/os.py"} <= set(tar.getnames())
    mirror.unlink()
    assert runtime.interpreter(Target("3.12", "arm64")) == made


def test_where_none_can_be_had_machines_must_have_it(mirror: Path) -> None:
    mirror.unlink()
    assert runtime.interpreter(Target("3.12", "arm64")) is None
    assert runtime.interpreter(Target("3.13", "arm64")) is None
