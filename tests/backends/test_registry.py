"""Backends are found by name, and built with their settings."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from elsewhere.backends import registry
from elsewhere.backends.local import Local
from elsewhere.errors import ConfigError, MissingExtra, UnknownPlace
from elsewhere.model.place import Place


def test_local_is_there_and_is_built_with_its_settings(tmp_path: Path) -> None:
    assert "local" in registry.names()
    built = registry.build(Place("here", "local", {"directory": str(tmp_path)}))
    assert isinstance(built, Local)
    assert built.directory == tmp_path


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownPlace) as caught:
        registry.load("locla")
    assert "local" in caught.value.hint


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.build(Place("here", "local", {"directry": "/tmp", "x-y": 1}))
    assert len(caught.value.faults) == 2
    assert "did you mean directory" in caught.value.faults[0]


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("cloudy", "no_such_library_at_all.backend:Cloudy", registry.GROUP)
    monkeypatch.setattr(registry, "_points", lambda: {"cloudy": point})
    with pytest.raises(MissingExtra) as caught:
        registry.load("cloudy")
    assert "elsewhere[cloudy]" in caught.value.hint
    assert "no_such_library_at_all" in caught.value.message


def test_names_import_no_backend() -> None:
    import subprocess

    code = "import sys; from elsewhere.backends import registry; registry.names(); print('psutil' in sys.modules, 'elsewhere.backends.local' in sys.modules)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"False False\n"
