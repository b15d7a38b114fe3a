"""Slots in an interpreter that has nothing installed: remote functions with options work there too."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

SCRIPT = """
import sys
from elsewhere import remote

@remote(retries=1, timeout="30s", profile="warm", python=sys.argv[1] if len(sys.argv) > 1 else None)
def outer(x):
    return inner(x), sys.prefix

@remote(timeout="3s")
def inner(x):
    return x + 1

if __name__ == "__main__":
    print(*outer(1))
"""


def test_functions_with_options_run_where_nothing_of_ours_is_installed(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    (tmp_path / "elsewhere.yaml").write_text("profiles: {warm: {slots: 1}}\n")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ELSEWHERE_")}

    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "bare" / "bin" / "python")],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "ELSEWHERE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ran.returncode, ran.stdout) == (0, f"2 {tmp_path / 'bare'}\n"), ran.stderr
