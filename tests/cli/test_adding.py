"""`places add`: the words of any backend, answers at a terminal, refusals before anything is made."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from cli.command import Shell


def test_hosts_are_a_place_by_the_same_words(shell: Shell, tmp_path: Path) -> None:
    ran = shell("places", "add", "lab", "--hosts", "no-such-host.invalid", "--yes")
    assert ran.status == 3 and "no-such-host.invalid" in ran.out and "Nothing was written" in ran.err
    assert not (shell.directory / "elsewhere.yaml").exists()
    assert [one.name for one in (shell.home / "adding").iterdir()] == ["lab.json"]


def test_this_machine_with_a_key_is_written_with_what_was_typed(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "slots: 2  # mine\n")
    ran = shell("places", "add", "here", "--backend", "local", "--yes")
    assert ran.status == 0, ran
    text = (shell.directory / "elsewhere.yaml").read_text()
    assert text == "slots: 2  # mine\n\nplaces:\n  here: {backend: local}\n"
    assert shell("run", "--on", "here", "--", "echo", "hello").out == "hello\n"
    assert not (shell.home / "adding" / "here.json").exists()


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["x", "--backend", "slrum"], "no place or backend 'slrum'", "Did you mean slurm?"),
        (["x", "--hots", "a"], "there is no option --hots; did you mean --hosts?", "places add --help"),
        (["x", "--login", "a", "--hosts", "b"], "what kind of place is x?", "--backend"),
        (["x", "--login", "a", "--walltime", "soon", "--yes"], "--walltime", ""),
        (["x", "--login", "a", "--max-jobs", "many", "--yes"], "--max-jobs must be a whole number", ""),
        (["x", "--login", "a", "--container", "gcam"], "is not NAME=IMAGE", ""),
        ([], "NAME is missing", ""),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(shell: Shell, words: list[str], said: str, hint: str) -> None:
    ran = shell("places", "add", *words)
    assert ran.status == 2 and said in ran.err and hint in ran.err, ran
    assert not (shell.directory / "elsewhere.yaml").exists() and not (shell.home / "adding").exists()


def test_its_page_has_the_keys_of_every_backend(shell: Shell) -> None:
    page = shell("places", "add", "--help")
    assert page.status == 0
    for word in ("--login", "--hosts", "--work-dir", "--container", "Keys of slurm"):
        assert word in page.out


@pytest.mark.slow
def test_at_a_terminal_questions_are_answered_and_a_wrong_answer_is_asked_again(shell: Shell) -> None:
    shim = shell.directory.parent / "bin"
    shim.mkdir()
    for name, text in SLURM.items():
        (shim / name).write_text(f"#!/bin/sh\n{text}\n")
        (shim / name).chmod(0o700)
    work = shell.directory.parent / "scratch"
    answers = {"log in to": "\n", "partition": "shrot\n", "no shrot; did you mean short?": "short\n",
               "account": "\n", "may live": "9h\n", "all nodes see": f"{work}\n"}  # fmt: skip
    said = _typed(shell, ["places", "add", "hpc", "--backend", "slurm"], answers, str(shim))
    assert "up to 2h00m a job" in said and "accounts of yours: gcims" in said
    assert "9h00m is more than the partition short allows" in said
    assert not work.exists() and not (shell.directory / "elsewhere.yaml").exists()
    said = _typed(shell, ["places", "add", "hpc", "--walltime", "01:30:00"], {}, str(shim))
    assert f"{work} is made" in said, said
    found = yaml.safe_load((shell.directory / "elsewhere.yaml").read_text())
    assert found["places"]["hpc"] == {
        "backend": "slurm",
        "partition": "short",
        "work-dir": str(work),
        "walltime": "01:30:00",
    }


SLURM = {
    "sinfo": """case "$*" in *version*) echo slurm 23.11.1; exit;; esac
echo 'main*|up|infinite|4|idle|64|256000|(null)|(null)'; echo 'short|up|2:00:00|2|idle|64|256000|(null)|(null)'""",
    "sacctmgr": "echo 'gcims|gcims|normal||10'",
    "sbatch": "exit 0",
    "srun": 'while [ "$1" != sh ]; do shift; done; exec "$@"',
}
"""A cluster that says yes to everything, of two partitions."""


def _typed(shell: Shell, words: list[str], answers: dict[str, str], path: str) -> str:
    """What the command has shown on a terminal at which each text, once it shows, is answered."""
    env = {**shell.env, "PATH": f"{path}:{shell.env['PATH']}", "NO_COLOR": "1", "USER": "alice"}
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(shell.directory)
        os.execve(sys.executable, [sys.executable, "-m", "elsewhere", *words], env)
    shown, end, seen = "", time.monotonic() + 20, 0
    left = dict(answers)
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                shown += os.read(fd, 4096).decode()
            except OSError:  # it has ended
                break
        if left and (at := shown.find(next(iter(left)), seen)) >= 0:
            text = next(iter(left))
            seen = at + len(text)
            os.write(fd, left.pop(text).encode())
    ended = bool(os.waitpid(pid, os.WNOHANG)[0]) or time.monotonic() < end
    if not ended:
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    os.close(fd)
    assert ended and not left, (left, shown)
    return shown
