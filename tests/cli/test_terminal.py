"""A real terminal: the live line is one line, fits, and Ctrl-C does what it says."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.command import Shell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: there is no terminal to try it in"),
]

WORKER = """
import os, time

def wait(x):
    while not os.path.exists(f"go-{x}"):
        time.sleep(0.02)
    print("\\x1b[2Jgone")
    return x
"""


class Terminal:
    """A terminal of 90 by 24 with a shell in it."""

    def __init__(self, shell: Shell, socket: Path) -> None:
        self.socket = str(socket)
        exports = " ".join(f"{name}={shlex.quote(shell.env[name])}" for name in ("ELSEWHERE_HOME", "HOME", "PATH"))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "24", f"env {exports} PS1='$ ' sh")
        self.type(f"cd {shlex.quote(str(shell.directory))}; clear")

    def tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self.socket, *words], check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def type(self, line: str) -> None:
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait(self, text: str, seconds: float = 30) -> str:
        """The screen once it shows `text`."""
        until = time.monotonic() + seconds
        while text not in (shown := self.screen()):
            assert time.monotonic() < until, f"{text!r} never came; the screen is:\n{shown}"
            time.sleep(0.05)
        return shown


@pytest.fixture
def terminal(shell: Shell, tmp_path: Path) -> Iterator[Terminal]:
    shell.write("worker.py", WORKER)
    shell.tasks(5)
    made = Terminal(shell, tmp_path / "tmux")
    yield made
    made.tmux("kill-server")


def run(terminal: Terminal, *words: str) -> None:
    terminal.type(shlex.join([sys.executable, "-m", "elsewhere", *words]) + "; echo status $?")


def test_the_live_line_and_ctrl_c_once(shell: Shell, terminal: Terminal) -> None:
    run(terminal, "run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "2", "--timeout", "60s", "--name", "fit")

    shown = terminal.wait("done 0/5  failed 0  running 2  waiting 3")
    assert shown.count("done 0/5") == 1
    shell.write("go-1", "")
    terminal.wait("done 1/5  failed 0  running 2  waiting 2")

    terminal.tmux("send-keys", "C-c")
    shown = terminal.wait("stopping: 2 running (")
    assert "left at most" in shown
    assert "Ctrl-C again: now" in shown
    shell.write("go-2", "")
    shell.write("go-3", "")

    shown = terminal.wait("status 130")
    assert "Interrupted after" in shown
    assert "3 of 5 done, 2 left" in shown
    assert "elsewhere resume fit" in shown
    assert "stopping" not in shown
    assert "running 2" not in shown


def test_output_shown_on_a_terminal_cannot_clear_it(shell: Shell, terminal: Terminal) -> None:
    for number in range(1, 6):
        shell.write(f"go-{number}", "")
    run(terminal, "run", "tasks.jsonl", "--entry", "worker:wait", "--name", "fit")
    terminal.wait("status 0")

    run(terminal, "logs", "fit/t1")

    shown = terminal.wait("\\x1b[2Jgone")
    assert "5 of 5 done" in shown


def test_watching_ends_with_ctrl_c_and_the_job_goes_on(shell: Shell, terminal: Terminal) -> None:
    run(terminal, "run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "1", "--detach", "--name", "fit")
    terminal.wait("status 0")

    run(terminal, "watch", "fit")
    terminal.wait("running 1")
    terminal.tmux("send-keys", "C-c")

    assert "the job goes on" in terminal.wait("status 130")
    for number in range(1, 6):
        shell.write(f"go-{number}", "")
    run(terminal, "watch", "fit")
    assert "5 of 5 done" in terminal.wait("5 of 5 done")


@pytest.mark.needs("zsh")
def test_zsh_completes_what_its_installed_script_says(shell: Shell, terminal: Terminal, tmp_path: Path) -> None:
    """Typed into a zsh whose .zshrc is what `--install-completion` made of none: there `compinit` was never called."""
    assert shell("run", "--name", "fitting", "--quiet", "--", "true").status == 0
    assert shell("--install-completion", env={"SHELL": "/bin/zsh"}).status == 0
    with (tmp_path / ".zshrc").open("a") as rc:
        rc.write(f"elsewhere() {{ {sys.executable} -m elsewhere \"$@\" }}\nPS1='zsh> '\nLISTMAX=200\n")
    terminal.type("zsh -d")
    assert "not found" not in terminal.wait("zsh>")

    def typed(line: str, shows: str) -> str:
        terminal.tmux("send-keys", "C-u", "C-l")
        terminal.tmux("send-keys", "-l", line)
        terminal.tmux("send-keys", "Tab")
        return terminal.wait(shows)

    shown = typed("elsewhere re", "Go on with a job that was stopped")
    assert all(name in shown for name in ("reap", "results", "resume", "retry"))
    typed("elsewhere --ver", "elsewhere --version")
    typed("elsewhere results --fo", "elsewhere results --format")
    assert "csv" in typed("elsewhere results --format ", "jsonl")
    typed("elsewhere results --format=c", "--format=csv")
    typed("elsewhere status fi", "elsewhere status fitting")
    typed("elsewhere key ex", "elsewhere key export")
    typed("elsewhere run wor", "elsewhere run worker.py")
    typed("elsewhere run -- cat wor", "elsewhere run -- cat worker.py")
    typed("elsewhere --install-completion z", "elsewhere --install-completion zsh")
