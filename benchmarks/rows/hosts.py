"""Hosts by SSH, two real sshd on loopback: a call, the first call, a list of tasks, files and software brought there.

What a thing adds to a job is the time of a job with it less that of one without, the one after the other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.loopback import Hosts
from benchmarks.meter import Failed, Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

WHEELS, MODULES = 30, 20
"""Made here, so that no index is measured, nor asked; each has so many modules."""
NODES = ("node1", "node2")
ADDED = "seconds that it adds to a job"
HAS_NONE, HAS_IT = "the host has none of it", "the host has it"


def rows(ground: Ground, full: bool) -> list[Row]:
    lab = Lab(ground)
    return [_warm(lab), _first(lab), _noop(lab), _files(lab), _software(lab)]


class Lab:
    """A project whose places are `lab`, both hosts, and `one`, the first of them. Made for the first who asks.

    Its state directory is kept, as a user's is: what was put together for a host once is not again.
    """

    def __init__(self, ground: Ground) -> None:
        self.ground, self.small = ground, ground.small

    @cached_property
    def hosts(self) -> Hosts:
        hosts = Hosts(self.ground.path / "hosts", *NODES)
        self.ground.exits.callback(hosts.close)
        return hosts

    @cached_property
    def project(self) -> Path:
        folder = self.ground.path / "project"
        folder.mkdir()
        for name in ("noop.py", "ssh_calls.py"):
            shutil.copy(PROGRAMS / name, folder)
        config = json.dumps(str(self.hosts.config))
        (folder / "requirements.txt").write_text("\n".join(self.wheels))
        (folder / "elsewhere.yaml").write_text(
            f"places:\n  lab: {{backend: ssh, hosts: {json.dumps(NODES)}, slots: 1, config: {config}}}\n"
            f"  one: {{backend: ssh, hosts: [{NODES[0]}], slots: 1, config: {config}}}\n"
            "environments:\n  wheels: {pip: requirements.txt}\n"
        )
        return folder

    @cached_property
    def wheels(self) -> list[str]:
        """Requirements, whose wheels lie in `shop`."""
        self.shop.mkdir()
        names = [f"part{k}" for k in range(2 if self.small else WHEELS)]
        for name in names:
            _wheel(self.shop, name)
        return [f"{name}==1.0" for name in names]

    @property
    def shop(self) -> Path:
        return self.ground.path / "wheels"

    @property
    def home(self) -> Path:
        return self.hosts.folder / "home"

    def env(self) -> dict[str, str]:
        own = {"ELSEWHERE_HOME": str(self.home), "PYTHONPATH": "", **self.hosts.env()}
        return {**own, "UV_FIND_LINKS": str(self.shop), "UV_NO_INDEX": "1"}

    def measured(self, command: Sequence[str | Path], **env: str) -> Usage:
        """A command in the project; the connections that it makes are its own, and end with it."""
        self.hosts.part()
        return measure(self.hosts.parting(command), env={**self.env(), **env}, cwd=self.project, memory=False)

    def seconds(self, *words: str | Path, **env: str) -> float:
        """Of a job of one command that does nothing, by a connection that is there already."""
        command = [ELSEWHERE, "run", "--on", "one", "--quiet", *words, "--", "true"]
        began = time.monotonic()
        done = subprocess.run(command, env={**os.environ, **self.env(), **env}, cwd=self.project, text=True,
                              capture_output=True, check=False, timeout=300)  # fmt: skip
        if done.returncode:
            raise Failed(done.stderr.strip() or f"the job ended with {done.returncode}")
        return time.monotonic() - began

    def added(self, *words: str | Path, **env: str) -> Sample:
        if not self.home.exists():
            self.seconds()
        plain = self.seconds()
        return {"seconds": self.seconds(*words, **env) - plain}

    def forget_software(self) -> None:
        """As if the environment had never been put together here, nor been on that host."""
        here, there = self.home / "cache", self.hosts.folder / NODES[0] / ".elsewhere" / "cache"
        for digest in [sheet.read_text() for sheet in (here / "software").glob("*")]:
            for cache in (here, there):
                (cache / "bundles" / f"{digest}.tar.gz").unlink(missing_ok=True)
            shutil.rmtree(there / "unpacked" / digest, ignore_errors=True)
        for sheets in ("software", "resolved"):
            shutil.rmtree(here / sheets, ignore_errors=True)


def _wheel(folder: Path, name: str) -> None:
    """A package of modules of some lines each."""
    about, lines = f"{name}-1.0.dist-info", "".join(f"VALUE_{k} = {k}\n" for k in range(200))
    files = {f"{name}/module{k}.py": lines for k in range(MODULES)}
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def _warm(lab: Lab) -> Row:
    n, few = ("20", "2") if lab.small else ("1000", "20")
    who, pipe = "remote f(1), on a host", "a warm process over an ssh pipe"

    def ours() -> Sample:
        return dict(json.loads(lab.measured([PYTHON, "ssh_calls.py", "warm", n]).out))

    def theirs(way: str, count: str, kept: bool) -> Callable[[], Sample]:
        def once() -> Sample:
            words = [PYTHON, PROGRAMS / "ssh_pipe.py", way, count, *lab.hosts.ssh(kept=kept), NODES[0]]
            return dict(json.loads(lab.measured(words).out))

        return once

    return Row(
        "ssh-warm",
        f"A warm call f(1) on a host by SSH, recorded, round trip (median of {int(n):,})",
        [
            Contestant(who, ours),
            Contestant(pipe, theirs("warm", n, False), LIMIT),
            Contestant("a new Python for each call, one connection", theirs("each", few, True), PEER),
            Contestant("a new connection for each call", theirs("each", few, False), PEER),
        ],
        [Target(who, "millis", most=1.0)],
        compare=("millis",),
    )


def _first(lab: Lab) -> Row:
    who, kept, bare = "the first f(1)", "the first f(1), the connection kept", "a new connection and Python"

    def ours(part: bool) -> Callable[[], Sample]:
        def once() -> Sample:
            call = [PYTHON, "ssh_calls.py", "first"]
            if not lab.home.exists():
                lab.measured(call)
            if part:
                return dict(json.loads(lab.measured(call).out))
            lab.seconds()
            return dict(json.loads(measure(call, env=lab.env(), cwd=lab.project, memory=False).out))

        return once

    def theirs() -> Sample:
        return {"seconds": lab.measured([*lab.hosts.ssh(kept=False), NODES[0], "python3 -c 'print(1)'"]).wall}

    return Row(
        "ssh-first",
        "The first call f(1) of a program, on a host that has the environment",
        [Contestant(who, ours(True)), Contestant(kept, ours(False)), Contestant(bare, theirs, LIMIT)],
        [Target(who, "seconds", most=1.3, against=bare)],
        compare=("seconds",),
    )


def _noop(lab: Lab) -> Row:
    n, each = lab.ground.sized(10_000), 10 if lab.small else 200
    who, parallel, shared = "elsewhere run", f"GNU parallel --sshlogin, {each} tasks", f"xargs and ssh, {each} tasks"

    def ours(k: int) -> Usage:
        words = [ELSEWHERE, "run", lab.ground.tasks(k), "--entry", "noop:f", "--on", "lab", "--quiet"]
        return lab.measured(words)

    def with_parallel(k: int) -> Usage:
        if shutil.which("parallel") is None:
            raise Failed("GNU parallel is not installed")
        words = ["parallel", "--will-cite", "--ssh", " ".join(lab.hosts.ssh(kept=False)), "-j1",
                 "--sshlogin", ",".join(NODES), "-a", lab.ground.lines(k), "true {}"]  # fmt: skip
        return lab.measured(words, HOME=str(lab.hosts.folder))

    def with_xargs(k: int) -> Usage:
        words = ["xargs", "-P2", "-n1", "-a", lab.ground.lines(k), *lab.hosts.ssh(kept=True), NODES[0], "true"]
        return lab.measured(words)

    few = 20 if lab.small else 100
    return Row(
        f"ssh-noop-{n}",
        f"No-op tasks over two hosts by SSH, {n:,}; CPU of this side with its ssh",
        [
            Contestant(who, _lean(differing(ours, n, few))),
            Contestant(parallel, _lean(differing(with_parallel, each, each // 5)), PEER),
            Contestant(shared, _lean(differing(with_xargs, each, each // 5)), PEER),
        ],
        [Target(who, "rate", least=50, against=parallel), Target(who, "cpu", most=30)],
    )


def _lean(once: Callable[[], Sample]) -> Callable[[], Sample]:
    """Without memory, of which only this side's is seen."""
    return lambda: {name: value for name, value in once().items() if name in ("cpu", "rate")}


def _files(lab: Lab) -> Row:
    count = 20 if lab.small else 500
    data = lab.ground.path / "data"
    first, again = f"elsewhere run --input, {HAS_NONE}", f"elsewhere run --input, {HAS_IT}"
    fresh, kept = "tar over ssh, a new connection", "tar over ssh, a connection that is there"

    def write() -> None:
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        for k in range(count):
            (data / f"{k}.dat").write_bytes(os.urandom(2_000))

    def ours_first() -> Sample:
        write()
        return lab.added("--input", data)

    def ours_again() -> Sample:
        return lab.added("--input", data)

    def tar(shared: bool) -> Callable[[], Sample]:
        def once() -> Sample:
            ssh = lab.hosts.ssh(kept=shared)
            if shared:
                subprocess.run([*ssh, NODES[0], "true"], check=True, stdin=subprocess.DEVNULL)
            began = time.monotonic()
            with subprocess.Popen(["tar", "-cf", "-", "-C", data, "."], stdout=subprocess.PIPE) as sends:
                there = "mkdir -p data && tar -xf - -C data"
                subprocess.run([*ssh, NODES[0], there], stdin=sends.stdout, check=True)
            return {"seconds": time.monotonic() - began}

        return once

    return Row(
        "ssh-files",
        f"{count} files of 2 kB as inputs on a host by SSH, {ADDED}",
        [
            Contestant(first, ours_first),
            Contestant(again, ours_again),
            Contestant(fresh, tar(False), PEER),
            Contestant(kept, tar(True), LIMIT),
        ],
        [Target(first, "seconds", most=1.2, against=fresh), Target(again, "seconds", most=0.2)],
        compare=("seconds",),
    )


def _software(lab: Lab) -> Row:
    cold, warm = f"elsewhere run --environment, {HAS_NONE}", f"elsewhere run --environment, {HAS_IT}"
    sync = "uv venv and uv pip sync, here, nothing in the cache"

    def ours_cold() -> Sample:
        lab.forget_software()
        with TemporaryDirectory(dir=lab.ground.path) as cache:
            return lab.added("--environment", "wheels", UV_CACHE_DIR=cache)

    def ours_warm() -> Sample:
        return lab.added("--environment", "wheels")

    def theirs() -> Sample:
        uv = shutil.which("uv", path=str(Path(PYTHON).parent)) or shutil.which("uv")
        if uv is None:
            raise Failed("uv is not installed")
        with TemporaryDirectory(dir=lab.ground.path) as cache:
            pins, venv = lab.project / "requirements.txt", Path(cache, "venv")
            env = {**lab.env(), "UV_CACHE_DIR": f"{cache}/uv", "VIRTUAL_ENV": str(venv)}
            made = measure([uv, "venv", "--quiet", "--python", PYTHON, venv], env=env, memory=False)
            return {"seconds": made.wall + measure([uv, "pip", "sync", "--quiet", pins], env=env, memory=False).wall}

    return Row(
        "ssh-software",
        f"An environment of {2 if lab.small else WHEELS} wheels on a host by SSH, {ADDED}",
        [Contestant(cold, ours_cold), Contestant(warm, ours_warm), Contestant(sync, theirs, LIMIT)],
        [Target(cold, "seconds", most=1.3, against=sync), Target(warm, "seconds", most=0.3)],
        repeat=3,
        compare=("seconds",),
    )
