"""A private Slurm on this machine: munge, one controller and a few nodes, real daemons on free ports of loopback.

It is up in a second, and gone when the block ends: all that is left of its jobs is ended, by pid. Commands find it by
`env()`. With `accounting`, slurmdbd and a MariaDB of its own stand behind it, which takes some seconds more.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
BOUND = 30.0
"""Seconds; a bound, not a wait."""
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
ACCOUNTING = (*PROGRAMS, "slurmdbd", "mariadbd", "sacctmgr")
"""What tests of it need, for `pytest.mark.needs`."""
_GROUPS = Path("/sys/fs/cgroup")
CONFINES = os.access(_GROUPS / "memory" / "cgroup.procs", os.W_OK) and os.getuid() == 0
"""Whether jobs can be held to their memory here: the first kind of control groups, which we may write to."""
_CGROUP = ("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n"
           "ConstrainSwapSpace=no\nConstrainCores=no\nConstrainDevices=no\n")  # fmt: skip


class Cluster:
    """Nodes n1, n2, ... of `cpus` CPUs and `memory` MiB each, all of them in the partitions `main` (the default) and
    `short`, which allows two minutes; n1 has two GPUs of type a100 and the feature `fast`."""

    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 4, memory: int = 4000, accounting: bool = False,
                 more: Sequence[str] = (), confined: bool = False) -> None:  # fmt: skip
        """`more`: lines of slurm.conf besides. `confined`: jobs are held to their memory by the kernel (CONFINES);
        nodes have names of their own then, since control groups are called after them."""
        self.folder, self.conf, self._confined = folder, folder / "slurm.conf", confined
        self.nodes = [f"c{os.getpid()}x{k}" if confined else f"n{k}" for k in range(1, nodes + 1)]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(["ctld", "dbd", "sql", *self.nodes], _free_ports(nodes + 3), strict=True))
        self._accounting = accounting
        for name in ("state", "spool", "log"):
            (folder / name).mkdir(parents=True)
        (folder / "munge").mkdir(mode=0o711)
        (folder / "munge" / "key").write_bytes(os.urandom(128))
        (folder / "munge" / "key").chmod(0o600)
        self.conf.write_text("\n".join([*self._lines(cpus, memory), *more, ""]))
        for k in (0, 1):
            (folder / f"gpu{k}").touch()  # that there is a file is all that it wants of a device
        (folder / "cgroup.conf").write_text(_CGROUP if confined else "")
        (folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName={self.nodes[0]} Name=gpu Type=a100 File={folder}/gpu[0-1]\n"
        )

    def env(self) -> dict[str, str]:
        """The variables by which Slurm's commands find this cluster and no other."""
        return {"SLURM_CONF": str(self.conf)}

    def start(self) -> None:
        munge = self.folder / "munge"
        self._start("munged", ["munged", "--foreground", "--force", f"--key-file={munge / 'key'}",
                               f"--socket={munge / 'sock'}", f"--pid-file={munge / 'pid'}",
                               f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}"])  # fmt: skip
        until((munge / "sock").exists, "munged listens")
        if self._accounting:
            self._start_accounting()
        self.start_controller()
        for name in self.nodes:
            self.start_node(name)
        self.until_nodes_are("idle", self.nodes)

    def start_controller(self) -> None:
        """Again after `kill("slurmctld")`: it goes on from the state that it has saved."""
        self._start("slurmctld", ["slurmctld", "-D", "-f", str(self.conf)])
        until(lambda: self._listens("slurmctld", self._ports["ctld"]), "slurmctld listens")

    def start_node(self, name: str, *before: str) -> None:
        """`before`: words that run it, such as those of unshare."""
        (self.folder / "spool" / name).mkdir(exist_ok=True)
        self._start(name, [*before, "slurmd", "-D", "-N", name, "-f", str(self.conf)])

    def kill(self, daemon: str) -> None:
        """SIGKILL for `slurmctld`, or a node by its name. What runs on the node lives on, as its slurmstepd does."""
        process = self.daemons.pop(daemon)
        process.kill()
        process.wait()

    def stop(self, daemon: str) -> None:
        """SIGTERM: it has written down what it knows before it is gone."""
        process = self.daemons.pop(daemon)
        process.terminate()
        process.wait(BOUND)

    def kill_jobs_of(self, name: str) -> None:
        """What runs on that node is gone, as if it had lost its power."""
        for process in [*self.steps_of(name), *self._processes(lambda env: env.get("SLURMD_NODENAME") == name)]:
            with suppress(psutil.Error):
                process.kill()

    def steps_of(self, name: str) -> list[psutil.Process]:
        """Slurm's own processes that watch over what runs on that node."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.name() == "slurmstepd":  # its environment cannot be read, but where it listens can
                    at = [str(one.laddr) for one in process.net_connections("unix")]
                    found += [process] * any(path.startswith(f"{self.folder}/spool/{name}/") for path in at)
        return found

    def run(self, *words: str, check: bool = True, env: Mapping[str, str] = {}) -> str:
        """One of Slurm's commands; what it printed."""
        found = {**os.environ, "PATH": _PATH, **self.env(), **env}
        done = subprocess.run(words, env=found, capture_output=True, text=True, check=False, timeout=BOUND)
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout + ("" if check else done.stderr)

    def queue(self) -> list[str]:
        """Ids of all jobs that have not ended, those of arrays one by one."""
        return self.run("squeue", "-h", "-r", "-o", "%i").split()

    def until_nodes_are(self, state: str, names: Sequence[str]) -> None:
        def are() -> bool:
            said = self.run("sinfo", "-h", "-N", "-p", "main", "-n", ",".join(names), "-o", "%N %t", check=False)
            return sorted(f"{name} {state}" for name in names) == sorted(said.split("\n")[:-1])

        until(are, f"{names} are {state}")

    def close(self) -> None:
        """Everything of it ends. Twice: harmless."""
        for process in reversed(self.daemons.values()):
            process.kill()
            process.wait()
        self.daemons.clear()
        steps = [step for name in self.nodes for step in self.steps_of(name)]
        for left in [*steps, *self._processes(lambda env: True)]:
            with suppress(psutil.Error):
                left.kill()
        if self._confined:
            until(self._remove_groups, "its control groups are gone")

    # --- within

    def _remove_groups(self) -> bool:
        """What its nodes' control groups are left of; each goes once what ran in it has gone."""
        found = [path for name in self.nodes for path in _GROUPS.glob(f"*/slurm_{name}")]
        for top in found:
            for path, *_ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()
        return not any(top.exists() for top in found)

    def _processes(self, ours: Callable[[Mapping[str, str]], bool]) -> list[psutil.Process]:
        """Those that a daemon of this cluster began, or that one of its jobs did."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                env = process.environ()
                of_it = "OF_CLUSTER" in env or "SLURM_JOB_ID" in env
                if of_it and env.get("SLURM_CONF") == str(self.conf) and ours(env):
                    found.append(process)
        return found

    def _start(self, name: str, words: Sequence[str]) -> None:
        program = shutil.which(words[0], path=_PATH)
        assert program is not None, f"{words[0]} is not installed"
        env = {**os.environ, **self.env(), "OF_CLUSTER": str(self.folder), "NODE_OF": name, "PATH": _PATH}
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen([program, *words[1:]], env=env, stdin=subprocess.DEVNULL,
                                                  stdout=log, stderr=log, start_new_session=True)  # fmt: skip

    def _listens(self, name: str, port: int) -> bool:
        said = (self.folder / "log" / f"{name}.out").read_text()
        assert self.daemons[name].poll() is None, said
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        return False

    def _start_accounting(self) -> None:
        base, user = self.folder / "db", getpass.getuser()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={base}", f"--user={user}", "--skip-test-db",
                   "--auth-root-authentication-method=normal"]  # fmt: skip
        subprocess.run(install, check=True, capture_output=True, timeout=BOUND)
        self._start("mariadbd", ["mariadbd", "--no-defaults", f"--user={user}", f"--datadir={base}",
                                 f"--socket={base / 'sock'}", "--bind-address=127.0.0.1",
                                 f"--port={self._ports['sql']}", f"--pid-file={base / 'pid'}",
                                 "--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900",
                                 "--innodb-flush-log-at-trx-commit=0"])  # fmt: skip
        until(lambda: self._listens("mariadbd", self._ports["sql"]), "MariaDB listens")
        grant = ("create database slurm_acct; create user slurm@'127.0.0.1' identified by 'slurm'; "
                 "grant all on slurm_acct.* to slurm@'127.0.0.1';")  # fmt: skip
        subprocess.run(["mariadb", "--no-defaults", "-S", base / "sock", "-u", "root", "-e", grant], check=True)
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge/sock\nDbdHost=localhost\nDbdAddr=127.0.0.1\n"
            f"DbdPort={self._ports['dbd']}\nSlurmUser={user}\nStorageType=accounting_storage/mysql\n"
            f"StorageHost=127.0.0.1\nStoragePort={self._ports['sql']}\nStorageUser=slurm\nStoragePass=slurm\n"
            f"StorageLoc=slurm_acct\nLogFile={self.folder}/log/slurmdbd.log\nPidFile={self.folder}/slurmdbd.pid\n"
        )
        conf.chmod(0o600)
        self._start("slurmdbd", ["slurmdbd", "-D"])
        until(lambda: self._listens("slurmdbd", self._ports["dbd"]), "slurmdbd listens")

    def _lines(self, cpus: int, memory: int) -> list[str]:
        host, user, base = socket.gethostname().split(".")[0], getpass.getuser(), self.folder
        keeps = ["AccountingStorageType=accounting_storage/none"]
        if self._accounting:
            keeps = ["AccountingStorageType=accounting_storage/slurmdbd", "AccountingStorageHost=127.0.0.1",
                     f"AccountingStoragePort={self._ports['dbd']}", f"AccountingStoragePass={base}/munge/sock",
                     "AccountingStoreFlags=job_comment", "JobAcctGatherType=jobacct_gather/linux"]  # fmt: skip
        tracks = ["ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "DefMemPerCPU=100"]
        if self._confined:
            tracks = ["ProctrackType=proctrack/cgroup", "TaskPlugin=task/cgroup", "DefMemPerCPU=400"]
        return [
            "ClusterName=private", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={self._ports['ctld']}",
            f"SlurmUser={user}", f"SlurmdUser={user}", "AuthType=auth/munge", "CryptoType=crypto/munge",
            f"AuthInfo=socket={base}/munge/sock,cred_expire=5", f"StateSaveLocation={base}/state",
            f"SlurmdSpoolDir={base}/spool/%n", f"SlurmctldPidFile={base}/slurmctld.pid",
            f"SlurmdPidFile={base}/slurmd.%n.pid", f"SlurmctldLogFile={base}/log/slurmctld.log",
            f"SlurmdLogFile={base}/log/slurmd.%n.log", *tracks,
            "MpiDefault=none", "SwitchType=switch/none", "ReturnToService=2", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory", "SlurmdParameters=config_overrides", "SchedulerType=sched/backfill",
            "SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1,sched_interval=1",
            "PreemptType=preempt/partition_prio", "PreemptMode=REQUEUE", "JobRequeue=1", "MaxArraySize=1001",
            "MaxJobCount=20000", "MinJobAge=300", "KillWait=5", "SlurmdTimeout=10", "SlurmctldTimeout=10",
            "InactiveLimit=0", "MessageTimeout=10", "GresTypes=gpu", *keeps,
            f"NodeName=DEFAULT CPUs={cpus} RealMemory={memory} State=UNKNOWN",
            *(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={self._ports[name]}"
              f"{' Gres=gpu:a100:2 Feature=fast' * (name == self.nodes[0])}" for name in self.nodes),
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1",
            "PartitionName=short Nodes=ALL MaxTime=2 State=UP PriorityTier=1",
            "PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF",
        ]  # fmt: skip


@contextmanager
def running(folder: Path, **more: object) -> Iterator[Cluster]:
    """A cluster while the block lasts; `more` as `Cluster` takes it. The path of `folder` is short, as sockets want."""
    cluster = Cluster(folder, **more)  # type: ignore[arg-type]
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that will happen."""
    end = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    with_them = [socket.socket() for _ in range(count)]
    try:
        for one in with_them:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in with_them]
    finally:
        for one in with_them:
            one.close()
