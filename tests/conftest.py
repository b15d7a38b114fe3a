"""What all tests share: a test that needs a program which is not installed is left out, by name."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

# Commands that tests start find compiled what those before them compiled, as they do where it is installed.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell that starts tests in the background has them ignore Ctrl-C, and with them all whom they send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
                pytest.skip(f"needs {program}, which is not installed here")
