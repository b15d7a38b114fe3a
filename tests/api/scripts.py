"""Runs a text as the user's own script."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


class Scripts:
    """Texts as files of one directory, run by a bare interpreter."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(
        self, text: str, *args: str, status: int = 0, name: str = "script.py"
    ) -> subprocess.CompletedProcess[str]:
        (self.directory / name).write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, name, *args], cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
        return done
