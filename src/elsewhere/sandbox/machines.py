"""A machine of the sandbox: a directory of its own, and the processes that its user data started there.

It knows no API. Danger: in process mode what runs there is an ordinary process of the user who started the sandbox,
with that user's rights; only programs found on PATH are the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from elsewhere.sandbox import userdata
from elsewhere.sandbox.server import Answer
from elsewhere.sandbox.walls import Wall

MARK = "ELSEWHERE_SANDBOX_MACHINE"
"""In the environment of every process of a machine: how those that left their session are found."""
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ROUNDS = 50

# Told over a bare socket: a machine that ends must not depend on curl, nor wait for an interpreter's libraries.
_POWER = r"""#!/bin/sh
# The machine's own: it ends this machine, not the computer that the sandbox runs on.
after=0
for word in "$@"; do
  case "$word" in
    -c) after=-1 ;;
    -r|--reboot) echo "this sandbox machine cannot be booted again" >&2; exit 1 ;;
    +*) after=$((${word#+} * 60)) ;;
  esac
done
exec @PYTHON@ -I -S -c 'import socket, sys
host, port, path, after = sys.argv[1:]
with socket.create_connection((host, int(port)), 30) as line:
    line.sendall(f"POST {path}/power?after={after} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
    sys.exit(0 if b" 200 " in line.recv(4096) else 1)' @HOST@ @PORT@ @PATH@ "$after"
"""


_APT = """#!/bin/sh
# The machine's own: it installs nothing on the computer that the sandbox runs on.
echo "this machine of the sandbox installs nothing: apt-get $*"
"""


class Machine:
    """Made with its directory, which is its root. `boot` starts it, `kill` ends it; both may be called again."""

    def __init__(self, id: str, home: Path, mark: str, variables: Mapping[str, str], metadata: tuple[str, int, str],
                 wall: Wall | None = None, power: Answer = lambda _: None):  # fmt: skip
        """`metadata`: where it says that it ends itself; behind a `wall`, `power` answers that on its own loopback."""
        self.id, self.home, self.mark = id, home, mark
        self.root, self.console_file = home / "root", home / "console"
        self._variables, self._metadata = dict(variables), metadata
        self.wall, self._power = wall, power
        self._lock = threading.Lock()
        self._over = False
        self.frozen = False
        self.programs: dict[str, str] = {}
        """Its own, besides those of all machines: name -> text."""

    def boot(self, data: bytes) -> None:
        """Lay out the directory and start the user data. Returns when it runs, or there is nothing to run."""
        with self._lock:
            if self._over:
                return
            if self.wall is not None:
                self._metadata = (self._metadata[0], self.wall.up(self._power), self._metadata[2])
            self._lay_out()
            with self.console_file.open("ab") as console:
                console.write(f"[elsewhere sandbox] {self.id} boots\n".encode())
            scripts, complaints = userdata.scripts(data)
            with self.console_file.open("ab") as console:
                console.writelines(f"cloud-init: {line}\n".encode() for line in complaints)
            if scripts:
                self._start(scripts)

    def _start(self, scripts: list[bytes]) -> None:
        names = []
        for number, text in enumerate(scripts, 1):
            path = self.root / "var/lib/cloud/instance/scripts" / f"part-{number:03d}"
            path.write_bytes(text)
            path.chmod(0o700)
            names.append(shlex.quote(str(path)))
        # One after the other, as cloud-init runs them; a script that fails does not keep the next from running.
        line = "; ".join(f'{name} || echo "cloud-init: {Path(name).name} ended with status $?"' for name in names)
        with self.console_file.open("ab") as console:
            process = subprocess.Popen(  # the texts are files, and their names are quoted
                [*(self.wall.entered if self.wall is not None else ()), "/bin/sh", "-c", line],
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name=f"{self.id} reaper", daemon=True).start()

    def _lay_out(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("root", "tmp", "bin", "var/lib/cloud/instance/scripts"):
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        host, port, path = self._metadata
        words = {"@PYTHON@": sys.executable, "@HOST@": host, "@PORT@": str(port), "@PATH@": path}
        power = _POWER
        for word, value in words.items():
            power = power.replace(word, shlex.quote(value))
        programs = {name: power for name in ("shutdown", "poweroff", "halt")}
        programs["apt-get"] = _APT
        programs["python3"] = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
        for name, text in {**programs, **self.programs}.items():
            file = self.root / "bin" / name
            file.write_text(text)
            file.chmod(0o700)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:{_SYSTEM_PATH}",
            "HOME": str(self.root / "root"),
            "TMPDIR": str(self.root / "tmp"),
            "PWD": str(self.root),
            "LANG": "C.UTF-8",
            "HOSTNAME": self.id,
            **self._variables,
            MARK: self.mark,
        }

    def reach(self, port: int) -> socket.socket:
        """A connection to what listens at that port of its loopback. OSError: nothing does."""
        found = self.wall.reach(port) if self.wall is not None else socket.create_connection(("127.0.0.1", port), 10)
        found.settimeout(None)
        return found

    def console(self) -> bytes:
        with contextlib.suppress(OSError):
            return self.console_file.read_bytes()
        return b""

    def processes(self) -> list[psutil.Process]:
        return find([self.mark]).get(self.mark, [])

    def freeze(self) -> None:
        self.frozen = True
        _stop_all(self.mark)

    def thaw(self) -> None:
        self.frozen = False
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """All its processes, at once, and then its files but for what it printed. Waits until they are gone."""
        with self._lock:
            self._over = True
        kill([self.mark])
        if self.wall is not None:
            self.wall.down()
        shutil.rmtree(self.root, ignore_errors=True)


def find(marks: Iterable[str]) -> dict[str, list[psutil.Process]]:
    """The living processes of these machines, by mark: those that bear it, and all that descend from them."""
    wanted, found = set(marks), dict[int, str]()
    parents, processes = dict[int, int](), dict[int, psutil.Process]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parents[process.pid], processes[process.pid] = process.ppid(), process
            mark = process.environ().get(MARK)
            if mark in wanted and process.pid != os.getpid():
                found[process.pid] = mark
    by_mark: dict[str, list[psutil.Process]] = {}
    for pid, process in processes.items():
        above = pid
        while above and above not in found:
            above = parents.get(above, 0)
        if above and process.pid != os.getpid() and _alive(process):
            by_mark.setdefault(found[above], []).append(process)
    return by_mark


def kill(marks: Iterable[str]) -> None:
    """Ends these machines' processes, those too that are being born meanwhile. Waits until none is left."""
    marks = list(marks)
    for _ in range(_ROUNDS):
        left = [process for processes in find(marks).values() for process in processes]
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.05)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _stop_all(mark: str) -> None:
    """Until a look finds none that goes on: a process may have been born between look and signal."""
    for _ in range(_ROUNDS):
        going = [process for process in find([mark]).get(mark, []) if _goes_on(process)]
        if not going:
            return
        for process in going:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)


def _goes_on(process: psutil.Process) -> bool:
    return _alive(process) and process.status() != psutil.STATUS_STOPPED
