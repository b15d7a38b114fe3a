"""From nothing to a prompt on a cluster: a real sshd in front of a real Slurm, containers by a real runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from elsewhere.backends.slurm import Slurm, SlurmSettings
from elsewhere.ship.bundle import project_files
from hosts import sshd
from places.test_boxed import PODMAN
from slurm.cluster import PROGRAMS, Cluster, running
from slurm.test_slurm_jobs import Lab

pytestmark = [pytest.mark.needs(*PROGRAMS, "sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = "# mine\ndefault:\n  retries: 2   # twice\n"


class Desk(Lab):
    """A project of somebody who has a login on a cluster, and nothing else yet."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        (folder / "s").mkdir()
        self.hosts, self.store = sshd.Hosts(folder / "s"), folder / "store"
        (folder / "containers.conf").write_text(PODMAN)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.store}"\nrunroot = "{folder}/run"\n'
        )
        self.podman = {f"CONTAINERS_{name}CONF": f"{folder}/{file}.conf"
                       for name, file in (("", "containers"), ("STORAGE_", "storage"))}  # fmt: skip
        env = {**cluster.env(), **self.podman, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self.hosts.add("login", env=" ".join(f"{key}={value}" for key, value in env.items()))
        super().__init__(folder, cluster)
        (self.folder / "elsewhere.yaml").write_text(SETTINGS)
        self.scratch = folder / "scratch"

    def add(self, *more: str, status: int | None = 0) -> str:
        return self.run("places", "add", "hpc", "--login", "login", "--config", str(self.hosts.config),
                        "--work-dir", str(self.scratch), *more, status=status)  # fmt: skip

    def env(self) -> dict[str, str]:
        return {**super().env(), **self.podman}

    def shell(self, *words: str, given: bytes = b"") -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, "-m", "elsewhere", "shell", "hpc", *words], cwd=self.folder, input=given,
                              env=self.env(), capture_output=True, timeout=120)  # fmt: skip
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def stop(self) -> None:
        self.close()
        for name in list(self.hosts.daemons):
            self.hosts.stop(name)
        subprocess.run(["umount", str(self.store / "overlay")], capture_output=True, check=False)


@pytest.fixture
def desk(tmp_path: Path, cluster: Cluster) -> Iterator[Desk]:
    found = Desk(tmp_path, cluster)
    yield found
    found.stop()


def test_a_place_is_made_written_and_used_and_made_again_without_a_word(desk: Desk) -> None:
    wrong = desk.add("--partition", "shrot", "--yes", status=2)
    assert "Did you mean short?" in wrong and not desk.scratch.exists()
    assert (desk.folder / "elsewhere.yaml").read_text() == SETTINGS

    said = desk.run("places", "add", "hpc", "--partition", "short", "--walltime", "2m", "--yes")
    assert "Going on with what was answered before" in said and f"{desk.scratch} is made" in said
    assert "sees the work-dir" in said and "Python" in said
    text = (desk.folder / "elsewhere.yaml").read_text()
    assert text.startswith(SETTINGS)
    assert yaml.safe_load(text)["places"]["hpc"] == {
        "backend": "slurm", "login": "login", "config": str(desk.hosts.config), "work-dir": str(desk.scratch),
        "partition": "short", "walltime": "2m",
    }  # fmt: skip

    again = desk.run("places", "add", "hpc")
    assert "stands in the settings already" in again and (desk.folder / "elsewhere.yaml").read_text() == text
    assert "its partition is short" in desk.run("places", "add", "hpc", "--partition", "main", status=2)
    assert "sees the work-dir" in desk.run("places", "check", "hpc")
    assert desk.cluster.queue() == []

    status, out, err = desk.shell("--", "sh", "-c", "pwd; cat; echo bad >&2; exit 7", given=b"carried")
    assert (status, out, err) == (7, f"{desk.scratch}\ncarried", "bad\n")
    status, out, _ = desk.shell("--job", "--", "sh", "-c", "echo $SLURMD_NODENAME; cat; exit 9", given=b"it")
    assert (status, out) == (9, "n1\nit")


def test_without_a_terminal_what_was_not_answered_is_named_and_nothing_is_made(desk: Desk) -> None:
    said = desk.run("places", "add", "hpc", "--login", "login", "--config", str(desk.hosts.config), status=2)
    for word in ("--partition", "--account", "--walltime", "--work-dir", "--yes"):
        assert word in said
    assert (desk.folder / "elsewhere.yaml").read_text() == SETTINGS
    assert "has no key hosts" in desk.run("places", "add", "hpc", "--backend", "slurm", "--hosts", "a", status=2)
    assert "cannot name a place" in desk.run("places", "add", "h/c", "--login", "x", status=2)
    assert "what kind of place" in desk.run("places", "add", "hpc2", status=2)


@pytest.mark.soak
@pytest.mark.needs("busybox", "ch-run")
def test_a_prompt_in_a_container_has_its_python_stdin_and_exit_status(desk: Desk) -> None:
    from ship import rootfs

    rootfs.archive(desk.folder / "gcam.tar", python=True)
    own = "environments:  # software\n  gcam: {image: 'oci-archive:gcam.tar', runtime: charliecloud}\n"
    (desk.folder / "elsewhere.yaml").write_text(SETTINGS + own)
    said = desk.add("--container", "gcam=oci-archive:gcam.tar", "--yes")
    assert "container gcam" in said and "Python 3" in said
    assert (desk.folder / "elsewhere.yaml").read_text().startswith(SETTINGS + own)
    (desk.scratch / "file.py").write_text(
        "import os, sys; print(os.environ['OF_THE_IMAGE'], os.getcwd()); sys.exit(5)\n"
    )
    assert desk.shell("--tag", "gcam", "--", "python3", "file.py")[:2] == (5, f"yes {desk.scratch}\n")
    code = b"import os, sys\nprint(os.environ['OF_THE_IMAGE'])\nsys.exit(6)\n"
    assert desk.shell("--tag", "gcam", "--job", "--", "python3", "-", given=code)[:2] == (6, "yes\n")
    status, out, _ = desk.shell("--tag", "gcam", given=b"echo in $OF_THE_IMAGE; exit 4\n")
    assert status == 4 and "in yes" in out
    assert desk.shell("--tag", "gcma")[0] == 2
    listed = desk.run("run", "--on", "hpc", "--environment", "gcam", "--", "sh", "-c", "echo $OF_THE_IMAGE")
    assert "yes" in listed


@pytest.mark.needs("busybox", "ch-run")
def test_on_a_login_node_a_command_runs_in_a_container_where_we_are_and_in_a_job(
    tmp_path: Path, cluster: Cluster
) -> None:
    from ship import rootfs

    lab = Lab(tmp_path, cluster)
    rootfs.archive(lab.folder / "plain.tar")
    environments = {"plain": {"image": "oci-archive:plain.tar", "runtime": "charliecloud"}}
    whole = yaml.safe_load((lab.folder / "elsewhere.yaml").read_text())
    (lab.folder / "elsewhere.yaml").write_text(yaml.safe_dump({**whole, "environments": environments}))
    script = "echo $OF_THE_IMAGE $PWD $SLURMD_NODENAME; cat; exit 6"
    for more in ([], ["--job"]):
        done = subprocess.run([sys.executable, "-m", "elsewhere", "shell", "hpc", "--tag", "plain", *more, "--", "sh",
                               "-c", script], cwd=lab.folder, input=b"carried", env=lab.env(),
                              capture_output=True, timeout=120)  # fmt: skip
        assert (done.returncode, done.stdout.decode()) == (6, f"yes {lab.folder}\ncarried"), done.stderr


def test_secrets_reach_tasks_by_letter_and_lie_nowhere(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hush-" + os.urandom(9).hex()
    monkeypatch.setenv("TOKEN", secret)
    desk.add("--yes")
    spool = desk.cluster.folder
    script = f"""
import os, pathlib, subprocess, sys
word = os.environ["TOKEN"].encode()
roots = [{str(desk.scratch)!r}, {str(spool / "state")!r}, {str(spool / "spool")!r}]
files = [one for root in roots for one in pathlib.Path(root).rglob("*") if one.is_file()]
print("found", sum(word in one.read_bytes() for one in files), "of", len(files) > 9)
print("shown", secret in subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True).stdout)
print("length", len(word))
""".replace("secret in", "word.decode() in")
    said = desk.run("run", "--on", "hpc", "--secret", "TOKEN", "--", sys.executable, "-c", script)
    assert (
        "found 0 of True" in said and f"length {len(secret)}" in said and "shown False" in said and secret not in said
    )
    assert [one for one in desk.scratch.rglob("*") if one.is_file() and secret.encode() in one.read_bytes()] == []
    desk.scratch.chmod(0o777)
    assert "chmod go-w" in desk.run("run", "--on", "hpc", "--secret", "TOKEN", "--", "true", status=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a node that sees other files")
@pytest.mark.needs("unshare")
def test_a_work_dir_that_the_nodes_do_not_see_is_found_by_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    with running(tmp_path / "s", nodes=1) as cluster:
        work.mkdir()
        cluster.stop("n1")
        cluster.start_node("n1", "unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{work}" && exec "$@"', "sh")
        cluster.until_nodes_are("idle", ["n1"])
        for name, value in cluster.env().items():
            monkeypatch.setenv(name, value)
        found = list(Slurm(SlurmSettings(work_dir=str(work), walltime="30m")).ready())
        assert [one.what for one in found if not one.ok] == ["nodes"]
        assert f"does not see {work}" in found[-1].detail and "work-dir" in found[-1].hint
        assert list(work.iterdir()) == []


@pytest.mark.soak
@pytest.mark.needs("busybox", "ch-run", "podman")
def test_the_bootstrap_of_scalable_builds_brings_and_ends_in_the_container(
    desk: Desk,
) -> None:
    from ship import rootfs

    root = rootfs.archive(desk.folder / "root.tar", python=True, form="docker")
    (desk.folder / "Dockerfile").write_text("FROM scratch AS Scalable\nADD layer.tar /\nENV OF_THE_IMAGE=built\n"
                                            "FROM scratch AS gcam\n")  # fmt: skip
    with tarfile.open(root) as packed:
        layer = next(name for name in packed.getnames() if name.endswith("layer.tar"))
        (desk.folder / "layer.tar").write_bytes(packed.extractfile(layer).read())  # type: ignore[union-attr]
    words = ["compat", "scalable", "bootstrap", "--host", "login", "--config", str(desk.hosts.config), "--work-dir",
             str(desk.scratch), "--targets", "Scalable", "--yes"]  # fmt: skip
    script = "import os, sys; print('in', os.environ['OF_THE_IMAGE']); sys.exit(8)"
    said = desk.run(*words, "--", "python3", "-c", script, status=8)
    assert "in built" in said and "container scalable" in said
    assert yaml.safe_load((desk.folder / "elsewhere.yaml").read_text())["environments"]["scalable"] == {
        "image": "docker-archive:containers/scalable.tar"
    }
    assert sorted(one.name for one in project_files(desk.folder)) == [
        "Dockerfile",
        "elsewhere.yaml",
        "layer.tar",
        "root.tar",
        "work.py",
    ]  # the image is no code
    again = desk.run(*words, "--", "python3", "-c", script, status=8)
    assert "stands in the settings already" in again and "in built" in again
