"""This machine, as a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.hosts import Here
from elsewhere.testing.conformance import HostConformance


class TestHere(HostConformance):
    @pytest.fixture
    def host(self) -> Here:
        return Here()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        return str(tmp_path)

    def test_a_string_for_a_shell_is_not_a_command(self, host: Here) -> None:
        with pytest.raises(TypeError):
            host.run("echo hello")
