"""Programs that lead into the sandbox's machines as AWS's own lead into AWS's: a directory for the user's PATH."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

BIN = "bin"
_HERE = Path(__file__).with_name("programs")


def lay(directory: Path, command_line: bool | None = None) -> None:
    """AWS's own command line works with the sandbox too. `command_line`: whether it is stood in for; None: only where
    there is none."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs = {"session-manager-plugin": "session_manager_plugin.py"}
    if shutil.which("aws") is None if command_line is None else command_line:
        programs["aws"] = "aws.py"
    for name, file in programs.items():
        words = shlex.join([sys.executable, "-I", str(_HERE / file)])
        (directory / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (directory / name).chmod(0o700)
