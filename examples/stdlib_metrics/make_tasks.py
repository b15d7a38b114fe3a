"""Writes tasks.jsonl: one task for each module of this interpreter's own standard library, and one that must fail.

The rule of what is a task: every .py file below the standard library's directory, its own tests included, without
  site-packages, dist-packages   (installed by you, not part of the library)
  test/bad*.py, test/tokenizedata, lib2to3/tests/data, test/test_lib2to3/data     no Python 3, on purpose: test data
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}
BAD_ON_PURPOSE = {"test/tokenizedata", "lib2to3/tests/data", "test/test_lib2to3/data"}


def modules(top: str) -> Iterator[tuple[str, str]]:
    """(module name, path) of each module below `top`, in a fixed order."""
    for folder, folders, files in os.walk(top):
        below = os.path.relpath(folder, top)
        if below in BAD_ON_PURPOSE:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in NOT_OURS)
        for file in sorted(files):
            if file.endswith(".py") and not (below == "test" and file.startswith("bad")):
                path = os.path.join(folder, file)  # noqa: PTH118
                yield os.path.relpath(path, top)[:-3].replace(os.sep, "."), path


def main(out: str) -> None:
    count = 0
    with Path(out).open("w", encoding="utf-8") as file:
        for name, path in modules(sysconfig.get_path("stdlib")):
            file.write(json.dumps({"task_id": name, "data": {"path": path}}) + "\n")
            count += 1
        file.write(json.dumps({"task_id": "broken", "data": {"path": str(HERE / "broken.py.txt")}}) + "\n")
    print(f"{count + 1} tasks in {out}: {count} modules of Python {sys.version.split()[0]}, and broken.py.txt")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tasks.jsonl")
