"""What all tests share: a test that needs a program which is not installed is left out, by name."""

from __future__ import annotations

import os
import shutil

import pytest

# Commands that tests start find compiled what those before them compiled, as they do where it is installed.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
                pytest.skip(f"needs {program}, which is not installed here")
