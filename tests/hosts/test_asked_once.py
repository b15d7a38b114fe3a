"""Hosts that want an answer from a person: asked once on a terminal, and then left in peace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.hosts.openssh import OpenSsh
from hosts import sshd

pytestmark = [pytest.mark.needs("sshd", "ssh"), pytest.mark.timeout(120)]

TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
"""Runs a command on a terminal of its own; what is typed on it comes from standard input."""
PHRASE = "open sesame"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[sshd.Hosts]:
    """The user's key has a passphrase, and no agent knows it."""
    (tmp_path / "s").mkdir()
    with sshd.running(tmp_path / "s", "node1") as found:
        change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", PHRASE, "-f", str(found.folder / "user")]
        subprocess.run(change, check=True, stdout=subprocess.DEVNULL)
        place = f'places: {{lab: {{backend: ssh, hosts: [node1], slots: 1, config: "{found.config}"}}}}\n'
        (tmp_path / "elsewhere.yaml").write_text(place)
        yield found
        OpenSsh("node1", str(found.config)).close()


def elsewhere(folder: Path, *words: str, typed: str | None = None) -> tuple[int, str]:
    return python(folder, "-m", "elsewhere", *words, typed=typed)


def python(
    folder: Path, *words: str, typed: str | None = None, asked: bytes = b"passphrase"
) -> tuple[int, str]:  # fmt: skip
    """With `typed`, on a terminal, where it is answered to whoever asks: what is asked has that word in it."""
    env = {**os.environ, "ELSEWHERE_HOME": str(folder / "home"), "TERM": "xterm", "NO_COLOR": "1"}
    env.pop("SSH_AUTH_SOCK", None)
    env.pop("SSH_ASKPASS", None)
    words = (sys.executable, *words)
    if typed is None:
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr
    there = [sys.executable, "-c", TERMINAL, *words]
    with subprocess.Popen(
        there, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        said = b""
        while asked not in said and (piece := os.read(process.stdout.fileno(), 4096)):
            said += piece
        process.stdin.write(typed.encode() + b"\n")
        process.stdin.flush()
        while piece := os.read(process.stdout.fileno(), 4096):
            said += piece
    return process.returncode, said.decode()


def test_a_passphrase_is_asked_for_once_on_a_terminal_and_never_without_one(hosts: sshd.Hosts, tmp_path: Path) -> None:
    status, said = elsewhere(tmp_path, "run", "--on", "lab", "--", "echo", "hello")
    assert status == 125 and "node1 does not let" in said
    assert "`elsewhere places check PLACE` on a terminal lets you answer it once" in said
    assert not list((tmp_path / "home" / "jobs").glob("job-*")), "nothing was made"
    status, said = elsewhere(tmp_path, "places", "check", "lab", typed=PHRASE)
    assert status == 0 and "reached:" in said, said
    status, said = elsewhere(tmp_path, "places", "check", "lab")
    assert status == 0 and "reached:" in said, "by the connection that was made then"


def test_a_wrong_answer_is_said_and_nothing_is_made(hosts: sshd.Hosts, tmp_path: Path) -> None:
    config = hosts.config.read_text() + "  NumberOfPasswordPrompts 1\n"
    hosts.config.write_text(config)
    status, said = elsewhere(tmp_path, "run", "--on", "lab", "--", "echo", "hello", typed="wrong")
    assert status == 125 and "node1 did not let you in" in said, said
    assert not list((tmp_path / "home" / "jobs").glob("job-*"))


# --- a second factor, by PAM ----------------------------------------------------------------------------------------

PAM = """\
auth required pam_exec.so expose_authtok quiet {check}
auth required pam_permit.so
account required pam_permit.so
session required pam_permit.so
"""
CHECK = """#!/bin/sh
PATH=/usr/bin:/bin
code=$(tr -d '\\0')
[ "$code" = 271828 ] && echo yes >>{told} || {{ echo no >>{told}; exit 1; }}
"""
CODE = "271828"
SCRIPT = """
from elsewhere import run
print(run(["echo", "hello", "from", "there"], on="lab", check=True).logs())
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Path]:
    """A host that wants the key and then a code, which PAM asks for; the folder. In `told` is each answer."""
    folder = tmp_path / "s"
    (folder / "pam").mkdir(parents=True)
    check, told = folder / "check", folder / "told"
    check.write_text(CHECK.format(told=told))
    check.chmod(0o755)
    (folder / "pam" / "sshd").write_text(PAM.format(check=check))
    with sshd.running(folder) as found:
        found.add("node1", "UsePAM yes", "KbdInteractiveAuthentication yes", "PermitRootLogin yes",
                  "AuthenticationMethods publickey,keyboard-interactive", pam=folder / "pam")  # fmt: skip
        found.config.write_text(found.config.read_text() + "  NumberOfPasswordPrompts 1\n")
        place = f'places: {{lab: {{backend: ssh, hosts: [node1], slots: 1, config: "{found.config}"}}}}\n'
        (tmp_path / "elsewhere.yaml").write_text(place)
        yield tmp_path
        OpenSsh("node1", str(found.config)).close()


@pytest.mark.slow
@pytest.mark.needs("unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="PAM asks for others only where it runs as root")
def test_a_second_factor_is_asked_for_once_also_by_a_program(guarded: Path) -> None:
    told = guarded / "s" / "told"
    (guarded / "program.py").write_text(SCRIPT)
    for words in (("-m", "elsewhere", "run", "--on", "lab", "--", "true"), ("program.py",)):
        status, said = python(guarded, *words)
        assert status != 0 and "node1 does not let" in said, said
        assert "`elsewhere places check PLACE` on a terminal lets you answer it once" in said
    assert not told.exists() and not list((guarded / "home" / "jobs").glob("job-*")), "nobody was asked, nothing made"
    status, said = python(guarded, "program.py", typed=CODE, asked=b"Password:")
    assert status == 0 and "hello from there" in said, said
    status, said = python(guarded, "-m", "elsewhere", "places", "check", "lab")
    assert status == 0 and "reached:" in said, "by the connection that was made then"
    assert told.read_text() == "yes\n"
