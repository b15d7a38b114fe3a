"""A channel of conda made on the spot: a directory with small packages and their repodata, which py-rattler reads."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = f"{MINOR}.{sys.version_info.micro}"
ALONE = "include-system-site-packages = false\n"


class Channel:
    """`name`: as an environment names it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.as_uri()
        for subdir in ("noarch", "linux-64", "linux-aarch64"):
            (folder / subdir).mkdir(parents=True)
            self._list(subdir, {})

    def add(
        self, name: str, version: str, files: Mapping[str, str], depends: Sequence[str] = (), subdir: str = "noarch",
        noarch: str = "generic", links: Mapping[str, str] | None = None, programs: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`links`: symbolic ones, to their targets; `programs`: `name = module:function`, of Python's."""
        index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": list(depends),
                 "subdir": subdir, "timestamp": 1_700_000_000_000}  # fmt: skip
        if subdir == "noarch":
            index["noarch"] = noarch
        paths = [{"_path": path, "path_type": "hardlink", "sha256": _digest(text.encode()),
                  "size_in_bytes": len(text.encode())} for path, text in files.items()]  # fmt: skip
        paths += [{"_path": path, "path_type": "softlink", "sha256": _digest(b""), "size_in_bytes": 0}
                  for path in links or {}]  # fmt: skip
        about = {"info/index.json": json.dumps(index),
                 "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
                 "info/files": "".join(f"{one['_path']}\n" for one in paths)}  # fmt: skip
        if noarch == "python":
            about["info/link.json"] = json.dumps(
                {"noarch": {"type": "python", "entry_points": list(programs)}, "package_metadata_version": 1}
            )
        path = self.folder / subdir / f"{name}-{version}-0.tar.bz2"
        with tarfile.open(path, "w:bz2") as tar:
            for inside, text in {**about, **files}.items():
                found = tarfile.TarInfo(inside)
                found.size, found.mode = len(text.encode()), 0o755 if inside.startswith("bin/") else 0o644
                tar.addfile(found, io.BytesIO(text.encode()))
            for inside, target in (links or {}).items():
                found = tarfile.TarInfo(inside)
                found.type, found.linkname = tarfile.SYMTYPE, target
                tar.addfile(found)
        data = path.read_bytes()
        known = json.loads((path.parent / "repodata.json").read_text())["packages"]
        known[path.name] = {**index, "sha256": _digest(data), "md5": hashlib.md5(data).hexdigest(), "size": len(data)}
        self._list(subdir, known)

    def add_python(self) -> None:
        """The Python of these tests, as a package of conda's would bring one."""
        base = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
        self.add("python", VERSION, {"pyvenv.cfg": f"home = {base.parent}\nversion = {VERSION}\n{ALONE}"},
                 subdir="linux-64", links={"bin/python": str(base), f"bin/python{MINOR}": str(base)})  # fmt: skip

    def _list(self, subdir: str, packages: Mapping[str, Any]) -> None:
        told = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (self.folder / subdir / "repodata.json").write_text(json.dumps(told))


def usual(folder: Path) -> Channel:
    """With a Python, `gamma` (a module and a program of Python's, and a variable that activation sets), and `tool`."""
    channel = Channel(folder)
    channel.add_python()
    channel.add("gamma", "2.1", {"site-packages/gamma.py": "VALUE = 21\ndef main():\n    print('gamma', VALUE)\n",
                                 "etc/conda/activate.d/gamma.sh": 'export GAMMA_DATA="$CONDA_PREFIX/share"\n'},
                ["python"], noarch="python", programs=["gamma = gamma:main"])  # fmt: skip
    channel.add("tool", "1.0", {"bin/tool": "#!/bin/sh\necho tool of conda\n"})
    channel.add("tool", "0.9", {"bin/tool": "#!/bin/sh\necho old\n"})
    return channel


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
