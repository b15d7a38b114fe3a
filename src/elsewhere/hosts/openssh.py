"""Reach a machine through the user's own OpenSSH: their config, keys, agent, jump hosts; one connection, many commands.

What goes to the login shell there is one word list of ours in which every byte is harmless in any shell; all that a
user wrote is data within it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO

from elsewhere.errors import AccessDenied, MissingExtra, NotFound, PlaceError, Refused, Unreachable, UsageError
from elsewhere.hosts import Ran, private_directory, refusals

OWN_FAILURE = 255
"""What ssh itself exits with; so may a command, but then its first line has come."""
_LOST = re.compile(rb"closed|reset by peer|broken pipe|mux_client|timed out", re.IGNORECASE)
CONNECT, ALIVE, KEPT, ASKED = 10, 5, 120, 3600
"""Seconds: to connect in, between two signs of life (three may be missed), that an idle connection is kept, and one for
which somebody was asked."""
PATIENT = 120
"""Seconds without a sign of life, for connections whose end would lose something."""
LAST = 5.0
"""Seconds in which what was printed comes to its end, once the command has."""
_PLAIN = re.compile(rb"[A-Za-z0-9 ,./:=@_-]")


class OpenSsh:
    """A host by the name that `ssh NAME` knows it by. `config`: a file to use in place of the user's own."""

    def __init__(self, name: str, config: str = "") -> None:
        if not name or name.startswith("-") or any(c.isspace() or c == "\0" for c in name):
            raise UsageError(f"{name!r} is not the name of a host", hint="as you would type it behind ssh: alice@node1")
        self.name, self._config = name, config
        self._patient: bool | None = None

    def run(
        self, argv: Sequence[str], input: bytes = b"", timeout: timedelta | None = None, env: Mapping[str, str] = {}
    ) -> Ran:
        if isinstance(argv, str | bytes):
            raise TypeError("a command is a list of words, not a string for a shell")
        mark = os.urandom(8).hex().encode()
        process, err = self._start(_told(argv, env, mark), subprocess.PIPE)
        with process, err:
            try:
                out, _ = process.communicate(input, timeout.total_seconds() if timeout else None)
            except subprocess.TimeoutExpired:
                limit = timeout.total_seconds() if timeout else 0
                ended = "" if self._end(process, mark) else "; it may go on there"
                raise Unreachable(f"{argv[0]} on {self.name} did not end within {limit:g} s{ended}") from None
            except BaseException:
                process.kill()
                raise
            err.seek(0)
            return self._answer(argv, process.returncode, mark, out, err.read())

    def pour(self, argv: Sequence[str], write: Callable[[IO[bytes]], None]) -> Ran:
        """As `run`, with an input that is written as it is taken. What the command says meanwhile is short."""
        mark = os.urandom(8).hex().encode()
        process, err = self._start(_told(argv, {}, mark), subprocess.PIPE)
        with process, err:
            try:
                if process.stdin is None:
                    raise TypeError("a command has no streams")
                with contextlib.suppress(BrokenPipeError):  # it has ended, and its status says why
                    write(process.stdin)
                out, _ = process.communicate()
            except BaseException:
                process.kill()
                raise
            err.seek(0)
            return self._answer(argv, process.returncode, mark, out, err.read())

    def begin(self, argv: Sequence[str], word: str, timeout: timedelta) -> subprocess.Popen[bytes] | Ran:
        """Run a command there that becomes a stream: its process, once it has said this word, on a line of its own; or
        what it ran to, if it ended without. From then on all that it says is the stream's, and whoever has it ends it.

        Errors and repetition as of `run`.
        """
        mark = os.urandom(8).hex().encode()
        process, err = self._start(_told(argv, {}, mark), subprocess.PIPE)
        with err:
            try:
                out = _up_to(process, mark + b"\n" + word.encode() + b"\n", timeout.total_seconds())
                if out.endswith(b"\n" + word.encode() + b"\n"):
                    return process
                rest, _ = process.communicate(timeout=LAST)
            except (TimeoutError, subprocess.TimeoutExpired):
                _drop(process)
                limit = timeout.total_seconds()
                raise Unreachable(
                    f"{argv[0]} on {self.name} did not begin within {limit:g} s; it may go on there"
                ) from None
            except BaseException:
                _drop(process)
                raise
            err.seek(0)
            return self._answer(argv, process.returncode, mark, out + rest, err.read())

    def _answer(self, argv: Sequence[str], status: int, mark: bytes, out: bytes, err: bytes) -> Ran:
        noise, begun, answer = out.partition(mark + b"\n")
        if not begun:
            raise self._failure(status, err, noise)
        return self._ran(argv, status, answer, err.partition(mark + b"\n")[2])

    def _end(self, process: subprocess.Popen[bytes], mark: bytes) -> bool:
        """End the command of this mark with all of its process group; sshd, told that nobody listens, leaves it be."""
        given_up = time.monotonic() + CONNECT
        while True:  # it may only just be connecting
            try:
                out, _ = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired as late:
                out = late.output or b""
            begun = re.search(rb"(\d+) " + mark, out)
            if begun or process.returncode is not None or time.monotonic() > given_up:
                break
        process.kill()
        if begun is None:
            return False
        kill = ["sh", "-c", 'kill -s KILL -- "-$1"', "sh", begun[1].decode()]
        process, err = self._start(_told(kill, {}, mark), subprocess.PIPE)
        with process, err:
            try:
                process.communicate(timeout=CONNECT)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.returncode == 0

    def _ran(self, argv: Sequence[str], status: int, out: bytes, err: bytes) -> Ran:
        """As Here has it: minus the signal's number; a shell says 128 more, and 126 and 127 for what cannot be run."""
        last = err.strip().splitlines()[-1].decode("utf-8", "replace") if err.strip() else ""
        if status == 127 and "not found" in last.lower() and str(argv[0]) in last:
            raise NotFound(f"there is no {argv[0]} on {self.name}")
        if status == 126 and str(argv[0]) in last:
            raise AccessDenied(f"{argv[0]} may not be run on {self.name}")
        if status == OWN_FAILURE and (not last or _LOST.search(err)):  # a master that goes tells its clients nothing
            raise Unreachable(f"the connection to {self.name} was lost; {argv[0]} may have run")
        return Ran(-(status - 128) if 128 < status < OWN_FAILURE else status, out, err)

    def put(self, path: str, data: bytes, mode: int = 0o600) -> None:
        self._put(path, mode, data)

    def _put(self, path: str, mode: int, data: bytes) -> None:
        done = self.run(["sh", "-c", _PUT, "sh", path, f"{mode:o}", str(len(data))], data)
        if not done.ok:
            raise self._said_no(path, done)

    def get(self, path: str) -> bytes:
        done = self.run(["sh", "-c", '[ -e "$1" ] || exit 66; exec cat -- "$1"', "sh", path])
        if done.status == 66:
            raise NotFound(f"there is no {path} on {self.name}")
        if not done.ok:
            raise self._said_no(path, done)
        return done.out

    def stream(self, argv: Sequence[str]) -> tuple[subprocess.Popen[bytes], bytes]:
        """Start a command whose input and output are ours to use, and what it says before its first own byte.

        Does not wait. Whoever has the process ends it.
        """
        mark = os.urandom(8).hex().encode()
        process, err = self._start(_told(argv, {}, mark), subprocess.PIPE)
        err.close()
        return process, mark + b"\n"

    def follow(self, argv: Sequence[str], input: bytes, out: int, err: int) -> int:
        """As of Reached (hosts/__init__.py). A command that heeds the end of its input ends with us."""
        mark = os.urandom(8).hex().encode()
        told = [*self._words(), "--", self.name, _told(argv, {}, mark)]
        process = subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)  # fmt: skip
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("a command has no streams")
        mine = _Passing(process.stdout, mark + b"\n", out), _Passing(process.stderr, mark + b"\n", err)
        try:
            with contextlib.suppress(BrokenPipeError):  # it did not begin, or wanted none
                process.stdin.write(input)
                process.stdin.flush()
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            for one in mine:
                one.join(LAST)
        if not mine[0].begun:
            raise self._failure(process.returncode, mine[1].before, mine[0].before)
        if process.returncode == OWN_FAILURE or process.returncode < 0:
            raise Unreachable(f"the connection to {self.name} was lost; what was asked may go on there")
        return process.returncode

    def forward(self, target: str) -> list[str]:
        """The words of a command whose input and output are a connection from there to `target`, HOST:PORT.

        It outlasts a cut of two minutes where it may have an SSH connection of its own. It is the host's own sshd that
        connects; where that is not allowed, or nobody listens, it ends at once."""
        words = self._words(ControlPath=f"{Path(_control()).parent}/t%C", ServerAliveCountMax=PATIENT // ALIVE)
        if self._patient is None:  # whoever is asked for a second factor is not asked for it twice
            done = subprocess.run([*words, "--", self.name, "exit 0"], check=False, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            self._patient = done.returncode == 0
        return [*(words if self._patient else self._words()), "-W", target, "--", self.name]

    def address(self) -> str:
        """The name or address behind this one, as the configuration of ssh has it. Asks nobody."""
        words = [self._words()[0], *self._plain[1:], "-G", "--", self.name]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        found = [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("hostname ")]
        return found[0].strip() if found else self.name.rpartition("@")[2]

    def may_ask(self, said: PlaceError) -> bool:
        """Would ssh, on a terminal, ask its user for what is missing here? Never where a host shows another key."""
        return isinstance(said, AccessDenied) and not said.hint.startswith(refusals.CHANGED)

    def ask(self) -> None:
        """Connect once by a terminal: whatever ssh asks, the person there answers. The connection is then kept."""
        words = self._words(BatchMode="no", ControlMaster="yes", ControlPersist=ASKED)
        words[words.index("-T")] = "-n"
        done = subprocess.run([*words, "--", self.name, "exit 0"], check=False, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise AccessDenied(
                f"{self.name} did not let you in", hint=f"see what `{shlex.join([*self._plain, self.name])}` says"
            )

    def terminal(self, command: str) -> list[str]:
        """The words that open a terminal there for the user, who may be asked for a second factor. `command`: what it
        runs, harmless in any shell."""
        if shutil.which("ssh") is None:
            raise MissingExtra("ssh is not installed here", hint="install OpenSSH's client: apt install openssh-client")
        return [self._plain[0], "-t", *self._plain[1:], "--", self.name, command]

    def carried(self, words: Sequence[str], terminal: bool) -> list[str]:
        """The words that run these there with our own standard streams, and end as they do. `terminal`: it has one."""
        ssh, *_ = self.terminal("")
        kept = ["-o", "ControlMaster=no", "-o", f"ControlPath={_control()}", "-o", "LogLevel=ERROR"]
        command = f"exec {' '.join(shlex.quote(word) for word in words)}"
        return [ssh, "-t" if terminal else "-T", *kept, *self._plain[1:], "--", self.name, _unfolded(command)]

    def close(self) -> None:
        """Let the kept connection go. Twice: harmless; it goes by itself, too."""
        subprocess.run([*self._words(), "-O", "exit", "--", self.name], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # fmt: skip

    # --- within

    def _start(self, command: str, pipe: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        # a file, not a pipe: the connection that is kept may hold it open long after the command has ended
        err = tempfile.TemporaryFile()  # noqa: SIM115  (who asked closes it)
        try:
            process = subprocess.Popen([*self._words(), "--", self.name, command], stdin=pipe, stdout=pipe,
                                       stderr=err, start_new_session=True)  # fmt: skip
        except OSError as error:
            err.close()
            raise Refused(f"ssh cannot be started: {error.strerror or error}") from error
        return process, err

    def _words(self, **other: object) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise MissingExtra("ssh is not installed here", hint="install OpenSSH's client: apt install openssh-client")
        options = {
            "BatchMode": "yes", "ConnectTimeout": CONNECT, "ServerAliveInterval": ALIVE, "ServerAliveCountMax": 3,
            "ControlMaster": "auto", "ControlPath": _control(), "ControlPersist": KEPT, "LogLevel": "ERROR",
            "ForwardX11": "no", "ClearAllForwardings": "yes", **other,
        }  # fmt: skip
        words = [ssh, "-T", *self._plain[1:]]
        return words + [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _failure(self, status: int, said: bytes, noise: bytes) -> PlaceError:
        """Why no command was begun: what ssh said, in a sentence, and what to do."""
        text = said.decode("utf-8", "replace").strip() or noise.decode("utf-8", "replace").strip()
        last = text.splitlines()[-1] if text else f"ssh ended with status {status}"
        if status != OWN_FAILURE and not refusals.is_own(text):
            return Refused(f"the login shell of {self.name} ran nothing: {last}",
                           hint=f"see what `{shlex.join([*self._plain, self.name])} true` says")  # fmt: skip
        return refusals.why(self._plain, self.name, text, last)

    @property
    def _plain(self) -> list[str]:
        """The words before the name, as a user types them."""
        return ["ssh", *(["-F", self._config] if self._config else [])]

    def _said_no(self, path: str, done: Ran) -> PlaceError:
        last = done.err.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.status}"]
        kind = AccessDenied if "ermission denied" in last[0] else Refused
        hint = f"make room on {self.name}, and go on" if "No space left" in last[0] or "quota" in last[0] else ""
        return kind(f"{path} on {self.name}: {last[0]}", hint=hint)


class _Passing(threading.Thread):
    """Copies what comes behind a mark. `before`: the rest, of which a host may print some."""

    def __init__(self, source: IO[bytes], mark: bytes, to: int) -> None:
        super().__init__(daemon=True)
        self._source, self._mark, self._to = source, mark, to
        self.before, self.begun = b"", False
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._source:
            while data := os.read(self._source.fileno(), 1 << 16):
                self._pass(data)

    def _pass(self, data: bytes) -> None:
        if not self.begun:
            self.before += data
            self.before, begins, data = self.before.partition(self._mark)
            self.begun = bool(begins)
        view = memoryview(data)
        while view:
            view = view[os.write(self._to, view) :]


# A part that a cut leaves behind has a name of its own; only what has come whole takes the place of what was there.
_PUT = """\
umask 077; part=$1.$$ k=0  # its directory may be removed while it is empty
until { case $1 in */*) mkdir -p -- "${1%/*}";; esac; } && true >"$part"; do k=$((k + 1)); [ $k -lt 20 ] || exit; done
cat >"$part" && [ "$(wc -c <"$part")" -eq "$3" ] && chmod "$2" "$part" \
&& { sync "$part" 2>/dev/null || :; } && mv -f -- "$part" "$1" && exit 0
rm -f -- "$part"; exit 1"""


def _up_to(process: subprocess.Popen[bytes], last: bytes, seconds: float) -> bytes:
    """What a command says until it has said this, or ended; not a byte of what comes behind. TimeoutError."""
    if process.stdout is None:
        raise TypeError("a command has no streams")
    fd, said, end = process.stdout.fileno(), b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while not said.endswith(last):
            if not selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError
            data = os.read(fd, 1)
            if not data:
                break
            said += data
    return said


def _drop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _told(argv: Sequence[str], env: Mapping[str, str], mark: bytes) -> str:
    """What the login shell there gets, whichever it is: `sh`, and a text of harmless characters that sh unfolds."""
    sets = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
    words = " ".join(shlex.quote(word) for word in argv)
    mark_text = mark.decode()
    text = f"echo $$ {mark_text}; echo {mark_text} >&2\n{sets}exec {words}"
    return _unfolded(text)


def _unfolded(text: str) -> str:
    return 'exec sh -c \'eval "$(printf "' + _folded(text) + '")"\''


def _folded(text: str) -> str:
    """For printf's format: what is not plain becomes an octal escape; nothing in it means anything to a shell."""
    return "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else "%%" if byte == 0x25 else f"\\{byte:03o}"
        for byte in os.fsencode(text)
    )


def _control() -> str:
    """Where kept connections are: a directory of ours alone with a short path, as sockets must have."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"elsewhere-ssh-{os.getuid()}"
    private_directory(base)
    found = base.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or base.is_symlink():
        raise Refused(f"{base} is not ours alone", hint="remove it, or set XDG_RUNTIME_DIR")
    return f"{base}/%C"
