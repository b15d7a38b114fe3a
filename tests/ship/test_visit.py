"""The text that boots something of a cluster on a host: run by a real shell, with a program in the place of ours."""

from __future__ import annotations

import subprocess
import tarfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from elsewhere.ship import seat, visit
from elsewhere.ship.script import Archive

LATER = datetime.now(UTC) + timedelta(hours=1)
OURS = """#!/bin/sh
echo "$1 $2" >"$OUT"; cat >>"$OUT"; echo "$PYTHONPATH" >>"$OUT"; ls -l ../../papers/cluster.key >>"$OUT"; exit 3
"""


class Host:
    """Its cache, our interpreter there (which is `OURS`), and a machine's own directory."""

    def __init__(self, folder: Path) -> None:
        self.home, self.out, self.cache = folder, folder / "out", folder / ".elsewhere" / "cache"
        self.machine = folder / ".elsewhere" / "machines" / "m"
        python = folder / ".elsewhere" / seat.HERE / "we.env" / "bin" / "python"
        for path in (self.cache, self.machine, python.parent):
            path.mkdir(parents=True)
        python.write_text(OURS)
        python.chmod(0o700)
        self.project = self.archive("project.tar.gz", {"project/work.py": "x = 1"}, visit.CODE)
        self.papers = self.archive("papers.tar.gz", {"cluster.key": "secret", visit.WORD: '{"a": 1}\n'}, visit.PAPERS)

    def archive(self, key: str, files: dict[str, str], folder: str) -> Archive:
        path = self.cache / key
        with tarfile.open(path, "w:gz") as tar:
            for name, text in files.items():
                lies = self.home / "file"
                lies.write_text(text)
                lies.chmod(0o644)
                tar.add(lies, name)
        return Archive(key, sha256(path.read_bytes()).hexdigest(), folder)

    def boot(self, start_by: datetime = LATER) -> subprocess.CompletedProcess[str]:
        cache = '"${HOME:-/root}/.elsewhere/cache"'
        fetch = f'fetch() {{ cp {cache}/"$1" "$2"; }}'
        of = visit.Visit("mine", fetch, cache, "$(date +%s)", ".elsewhere", "we", self.project, (".", "s r c"))
        text = visit.render(of, "gcam/1", self.papers, "a.module", start_by)
        assert "secret" not in text
        env = {"HOME": str(self.home), "OUT": str(self.out), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            ["sh", "-c", text], cwd=self.machine, env=env, capture_output=True, text=True, check=False
        )

    @property
    def left(self) -> set[str]:
        return {path.name for folder in (self.machine, self.cache) for path in folder.iterdir()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_our_program_reads_its_word_in_the_project_and_nothing_stays_but_what_others_share(host: Host) -> None:
    assert host.boot().returncode == 3, "as its process ended"
    words, word, path, key = host.out.read_text().splitlines()
    assert (words, word) == ("-m a.module", '{"a": 1}')
    project = host.machine / visit.CODE / visit.PROJECT
    assert path == f"{project}/.:{project}/s r c"
    assert key.startswith("-rw-------"), "whoever unpacked it"
    assert host.left == {"project.tar.gz"}


def test_one_that_comes_too_late_or_cannot_have_its_things_takes_its_papers_away_all_the_same(host: Host) -> None:
    done = host.boot(datetime.now(UTC) - timedelta(seconds=1))
    assert (done.returncode, done.stdout) == (0, "it came too late to be of use\n")
    assert host.left == {"project.tar.gz"}
    assert not host.out.exists()
