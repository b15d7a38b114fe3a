"""The text that puts us on a host, run by real shells, also by two at the same moment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from elsewhere.ship import seat
from elsewhere.ship.script import Archive

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
WAIT = 'until [ -e "$MET/%s" ]; do sleep 0.02; done'
FETCH = f"""fetch() {{
  cp "$HOME/$1" "$2"; : >"$MET/fetched.$WHO"; [ $WHO = second ] && {WAIT % "ended"} || {WAIT % "fetched.second"}; }}"""
"""The first goes on when both have fetched, the second when the first has ended."""
SLOW = f"""#!/bin/sh
case "$*" in *venv*) ;; *) exec {sys.executable} "$@";; esac
: >"$MET/$WHO"; [ $WHO = first ] || {WAIT % "ended"}
{sys.executable} "$@"; : >"$MET/made"; {WAIT % "second"}
"""
"""An interpreter for the first who comes, which ends its making of an environment when the second begins with his; and
for him, who makes his when the first has ended."""


def archive(folder: Path, sort: str = "we", files: Mapping[str, str] = {"ours.py": "there = True"}) -> Archive:
    path = folder / f"{sort}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            lies = folder / "lies"
            lies.write_text(text)
            lies.chmod(0o700)
            tar.add(lies, name)
    return Archive(path.name, sha256(path.read_bytes()).hexdigest(), f"{sort}-1")


class Both:
    """Two who come at the same moment; what they meet by lies in `met`."""

    def __init__(self, home: Path, fetch: str) -> None:
        self.base, self.met = home / ".elsewhere" / seat.HERE, home / "met"
        for path in (self.met, home / "bin"):
            path.mkdir()
        python = home / "bin" / f"python{PYTHON}"
        python.write_text(SLOW)
        python.chmod(0o700)
        self.text = seat.text(".elsewhere", fetch, [archive(home)], PYTHON)
        self.env = {"HOME": str(home), "MET": str(self.met), "PATH": f"{home}/bin:/usr/bin:/bin"}

    def start(self, who: str) -> subprocess.Popen[str]:
        return subprocess.Popen(["sh", "-c", self.text], env={**self.env, "WHO": who}, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)  # fmt: skip

    def end(self, process: subprocess.Popen[str]) -> None:
        said, _ = process.communicate(timeout=120)
        (self.met / "ended").touch()
        assert process.returncode == 0, said
        subprocess.run(seat.asking(".elsewhere", "we-1", "ours"), env=self.env, check=True)

    def found(self) -> list[int]:
        """What is there, and when it was made."""
        return [(self.base / name).stat().st_ctime_ns for name in ("we-1/ours.py", "we-1.env/pyvenv.cfg")]

    def nothing_is_left(self) -> None:
        assert sorted(path.name for path in self.base.iterdir()) == ["we-1", "we-1.env", "work"]


def test_what_is_unpacked_by_two_at_once_is_never_taken_from_who_has_it_already(tmp_path: Path) -> None:
    both = Both(tmp_path, FETCH)
    (both.met / "second").touch()  # of their environments: one waits for nobody
    first, second = both.start("first"), both.start("second")
    both.end(first)
    found = both.found()
    both.end(second)
    assert both.found() == found
    both.nothing_is_left()


def test_of_two_environments_made_at_once_the_first_stays(tmp_path: Path) -> None:
    both = Both(tmp_path, 'fetch() { cp "$HOME/$1" "$2"; }')
    first = both.start("first")
    end = time.monotonic() + 60
    while not (both.met / "made").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    second = both.start("second")
    both.end(first)
    found = both.found()
    both.end(second)
    assert both.found() == found
    both.nothing_is_left()


def test_what_a_host_that_went_down_has_left_unfinished_is_made_again(tmp_path: Path) -> None:
    base = tmp_path / ".elsewhere" / seat.HERE
    for name in ("we-1", "we-1.env"):
        (base / name).mkdir(parents=True)
        (base / name / "part").touch()
    text = seat.text(".elsewhere", f'fetch() {{ cp "{tmp_path}/$1" "$2"; }}', [archive(tmp_path)], PYTHON)
    env = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    for _ in range(2):
        subprocess.run(["sh", "-c", text], env=env, check=True)
    subprocess.run(seat.asking(".elsewhere", "we-1", "ours"), env=env, check=True)
    assert sorted(path.name for path in base.iterdir()) == ["we-1", "we-1.env", "work"]


def test_uv_that_comes_later_is_found_in_what_was_there_before(tmp_path: Path) -> None:
    uv = archive(tmp_path, "uv", {"bin/uv": "#!/bin/sh\necho it is uv"})
    env = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    for more in ([], [uv], [uv]):
        text = seat.text(".elsewhere", f'fetch() {{ cp "{tmp_path}/$1" "$2"; }}', [archive(tmp_path), *more], PYTHON)
        subprocess.run(["sh", "-c", text], env=env, check=True)
    there = tmp_path / ".elsewhere" / seat.HERE / "we-1.env" / "bin" / "uv"
    assert subprocess.run([there], capture_output=True, text=True, check=True).stdout == "it is uv\n"
