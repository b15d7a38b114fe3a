"""A stand-in for Julia and for its server: it says what it is asked, and `instantiate` notes what it would get."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

VERSION = "1.10.4"
PROGRAM = f"""#!/bin/sh
case $1 in
--version) echo julia version {VERSION}; exit;;
esac
[ "$1" = --startup-file=no ] && shift
if [ "$1" = -e ]; then
  case $2 in *instantiate*) ;; *) exit 2;; esac
  depot=${{JULIA_DEPOT_PATH%:}}; mkdir -p "$depot" || exit
  grep -q Missing "$JULIA_PROJECT/Project.toml" && {{ echo 'expected package Missing to be registered'; exit 1; }}
  sed -n 's/^\\([A-Za-z]*\\) = .*/\\1/p' "$JULIA_PROJECT/Project.toml" >"$depot/has"
  : >>"$JULIA_PROJECT/Manifest.toml"
  exit
fi
echo "$* by julia {VERSION} with $(cat "${{JULIA_DEPOT_PATH%:}}/has" 2>/dev/null)"
"""


def server(folder: Path) -> str:
    """A directory that answers as the server of Julia's releases would: its address."""
    machine = platform.machine()
    name = f"julia-{VERSION}-linux-{machine}.tar.gz"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        about = tarfile.TarInfo(f"julia-{VERSION}/bin/julia")
        about.size, about.mode = len(PROGRAM), 0o755
        tar.addfile(about, io.BytesIO(PROGRAM.encode()))
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / name).write_bytes(data.getvalue())
    file = {"url": (folder / "bin" / name).as_uri(), "triplet": f"{machine}-linux-gnu", "kind": "archive",
            "arch": machine, "extension": "tar.gz", "sha256": hashlib.sha256(data.getvalue()).hexdigest()}  # fmt: skip
    known = {
        VERSION: {"stable": True, "files": [file]},
        "1.11.0-rc1": {"stable": False, "files": [{**file, "url": "rc1"}]},
    }
    (folder / "bin" / "versions.json").write_text(json.dumps(known))
    return folder.as_uri()
