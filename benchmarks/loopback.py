"""Hosts that are this machine: a real sshd each on a free port of loopback, with a home of its own, for one run.

Connections that are kept have their sockets in a directory of ours with a short path, so that they can be ended.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.meter import Failed

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
BOUND = 30.0
# Runs a command and lets the connections go that it kept, so that who measures it need not wait for their end.
PARTING = """\
"$@"; status=$?
for kept in "$XDG_RUNTIME_DIR"/*/*; do [ -S "$kept" ] && ssh -o ControlPath="$kept" -O exit there 2>/dev/null; done
exit $status"""


class Hosts:
    """`config`: for `ssh -F`. Failed: there is no sshd, or no ssh."""

    def __init__(self, folder: Path, *names: str) -> None:
        if SSHD is None or shutil.which("ssh") is None:
            raise Failed(f"no {'sshd' if SSHD is None else 'ssh'} is installed")
        self.folder, self.config = folder, folder / "config"
        self.sockets = Path(tempfile.mkdtemp(prefix="eb-", dir="/tmp"))
        self.daemons: list[subprocess.Popen[bytes]] = []
        folder.mkdir()
        (self.sockets / "peer").mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        try:
            for name in names:
                self._start(name)
        except BaseException:
            self.close()
            raise

    def ssh(self, *, kept: bool) -> list[str]:
        """The words before a host's name. `kept`: one connection for many commands, else a new one."""
        words = ["ssh", "-T", "-F", str(self.config), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]
        shared = ("ControlMaster=auto", f"ControlPath={self.sockets}/peer/%C", "ControlPersist=60")
        return words + [word for option in (shared if kept else ()) for word in ("-o", option)]

    def parting(self, command: Sequence[str | Path]) -> list[str | Path]:
        return ["sh", "-c", PARTING, "sh", *command]

    def part(self) -> None:
        """Let all connections go that are kept, so that the next one is new."""
        subprocess.run(self.parting(["true"]), env={**os.environ, **self.env()}, check=True, stdout=subprocess.DEVNULL)

    def env(self) -> dict[str, str]:
        return {"XDG_RUNTIME_DIR": str(self.sockets)}

    def close(self) -> None:
        self.part()
        for daemon in self.daemons:
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _start(self, name: str) -> None:
        (self.folder / name).mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = self.folder / f"{name}.sshd"
        settings.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nStrictModes no\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder}/user.pub\nPidFile none\nPasswordAuthentication no\n"
            f"SetEnv HOME={self.folder / name}\nMaxStartups 100\nMaxSessions 100\n"
        )
        with (self.folder / "known").open("a") as known, self.config.open("a") as config:
            key = " ".join((self.folder / "host.pub").read_text().split()[:2])
            known.write(f"[127.0.0.1]:{port} {key}\n")
            config.write(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
                f"  IdentityFile {self.folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.folder}/known\n"
            )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        assert SSHD is not None
        with (self.folder / f"{name}.log").open("ab") as log:
            daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", settings],
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        self.daemons.append(daemon)
        self._await(daemon, port, name)

    def _await(self, daemon: subprocess.Popen[bytes], port: int, name: str) -> None:
        end = time.monotonic() + BOUND
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                return
            except OSError:
                if daemon.poll() is not None or time.monotonic() > end:
                    raise Failed(f"sshd does not start: {(self.folder / f'{name}.log').read_text()}") from None
                time.sleep(0.02)
