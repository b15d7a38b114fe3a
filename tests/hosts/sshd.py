"""A real sshd on a free port of loopback, as many hosts as are asked for: each has a home of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hosts.relay import Relay

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Hosts:
    """`config`: for `ssh -F`. Hosts are called node1, node2 and so on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "config"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        self.relays: dict[str, Relay] = {}
        self.pam: dict[str, Path | None] = {}
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")

    def add(self, name: str, *lines: str, env: str = "", pam: Path | None = None) -> None:
        """`lines`: of its sshd_config, besides; `env`: NAME=VALUE words that its sessions have; `pam`: a directory that
        it sees in place of the system's own of that purpose, in a mount namespace of its own."""
        self.pam[name] = pam
        home = self.folder / name
        home.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.ports[name] = free.getsockname()[1]
        (self.folder / f"{name}.sshd").write_text(
            "\n".join(
                [
                    *lines,
                    f"Port {self.ports[name]}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {self.folder / 'host'}",
                    f"AuthorizedKeysFile {self.folder / 'authorized'}",
                    "StrictModes no",
                    "UsePAM no",
                    "PidFile none",
                    "PasswordAuthentication no",
                    f"SetEnv HOME={home} {env}",  # sshd heeds the first such line alone
                    "MaxStartups 100",
                ]
            )
        )
        self.start(name)
        self._write()

    def start(self, name: str) -> None:
        assert SSHD is not None
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            words: list[str | Path] = [SSHD, "-D", "-e", "-f", self.folder / f"{name}.sshd"]
            if (pam := self.pam[name]) is not None:
                there = 'mount --bind "$0" /etc/pam.d && exec "$@"'
                words = ["unshare", "--mount", "sh", "-c", there, pam, *words]
            self.daemons[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports[name]), 5).close()
                return
            except OSError:
                assert self.daemons[name].poll() is None, (self.folder / f"{name}.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self, name: str) -> None:
        """The listener and every connection of it."""
        import psutil

        daemon = self.daemons.pop(name)
        below = psutil.Process(daemon.pid).children(recursive=True)
        daemon.kill()
        daemon.wait()
        for process in below:
            if process.is_running() and process.name() == "sshd":
                process.kill()

    def wire(self, name: str) -> Relay:
        """From now on ssh reaches that host through this."""
        relay = self.relays[name] = Relay(self.ports[name])
        self._write()
        return relay

    def _write(self) -> None:
        known = self.folder / "known"
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        ports = {name: self.relays[name].port if name in self.relays else port for name, port in self.ports.items()}
        known.write_text("".join(f"[127.0.0.1]:{port} {key}\n" for port in ports.values()))
        self.config.write_text("".join(
            f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {self.folder / 'user'}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            for name, port in ports.items()
        ))  # fmt: skip


@contextmanager
def running(folder: Path, *names: str) -> Iterator[Hosts]:
    """Their tests are marked as needing sshd."""
    hosts = Hosts(folder)
    try:
        for name in names:
            hosts.add(name)
        yield hosts
    finally:
        for relay in hosts.relays.values():
            relay.close()
        for name in list(hosts.daemons):
            hosts.stop(name)
