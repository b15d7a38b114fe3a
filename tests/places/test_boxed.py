"""Tasks in containers, by real runtimes: charliecloud and Podman, here and on a host behind a real sshd."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from elsewhere.errors import UsageError
from elsewhere.ship import archives, containers
from elsewhere.ship.images import settle
from hosts import sshd
from sandbox.cloud import sandbox
from ship import rootfs

pytestmark = [pytest.mark.needs("busybox"), pytest.mark.slow, pytest.mark.timeout(300)]

WORK = """
import os, sys
def f(n):
    print("task", n)
    with open(f"made-{n}", "w") as file:
        file.write(os.environ["SECRET"])
    try:
        open("/data/new", "w")
        writable = True
    except OSError:
        writable = False
    return {"python": sys.executable, "of": os.environ["OF_THE_IMAGE"], "data": open("/data/in").read(), "to": writable}
def crash(n):
    os.kill(os.getpid(), 11)
"""
PODMAN = """
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
APPTAINER = """#!{python}
# What Apptainer makes of these words, by charliecloud: a SIF file is here the path of a directory.
import os, subprocess, sys
words, binds, given = sys.argv[2:], [], dict(os.environ)
while words[0].startswith("--"):
    option = words.pop(0)
    if option == "--bind":
        source, target = words.pop(0).split(":")[:2]
        binds.append((source, target))
    elif option == "--pwd":
        pwd = words.pop(0)
root = open(words.pop(0)).read()
for source, target in binds:
    os.makedirs(root + target, exist_ok=True)
env = {{name[13:]: value for name, value in given.items() if name.startswith("APPTAINERENV_")}}
env.update(PATH="/usr/local/bin:/bin", USER="root", OF_THE_IMAGE="yes")
bound = [word for pair in binds for word in ("-b", ":".join(pair))]
sys.exit(subprocess.call(["{run}", "--no-passwd", *bound, "-c", pwd, root, "--", *words], env=env))
"""
BOUND = 120.0


class Project:
    """A project with both images; `runtime` runs them."""

    def __init__(self, folder: Path, images: Path, runtime: str, env: dict[str, str]) -> None:
        self.folder, self.runtime = folder / "project", runtime
        self.env = {**os.environ, "ELSEWHERE_HOME": str(images / f"home-{runtime}"), **env}
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data" / "in").write_text("mounted")
        (self.folder / "work.py").write_text(WORK)
        (self.folder / ".elsewhereignore").write_text("data\n")
        only = ":ro" if runtime == "podman" else ""
        self.settings = (
            f'environments:\n  py: {{image: "oci-archive:{images}/py.tar", runtime: {runtime}, '
            f'mounts: {{data: "/data{only}"}}}}\n'
            f'  plain: {{image: "docker-archive:{images}/plain.tar", runtime: {runtime}}}\n'
        )
        (self.folder / "elsewhere.yaml").write_text(self.settings)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "elsewhere", *words], cwd=self.folder, env=self.env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)  # fmt: skip

    def run(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=BOUND)
        assert process.returncode == status, (process.returncode, out, err)
        return out + err

    def results(self) -> dict[str, dict[str, object]]:
        return {one["task_id"]: one for one in map(json.loads, self.run("results").splitlines())}

    def left(self) -> list[str]:
        """What the runtime still remembers of its containers."""
        if self.runtime != "podman":
            return []
        asked = subprocess.run(["podman", "ps", "--all", "--quiet"], env=self.env, capture_output=True, text=True)
        return asked.stdout.split()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rootfs.archive(folder / "py.tar", python=True)
    rootfs.archive(folder / "plain.tar", form="docker")
    return folder


@pytest.fixture(scope="session")
def podman(images: Path) -> Iterator[dict[str, str]]:
    """The variables by which Podman has a store of its own, and runs where little is allowed."""
    (images / "containers.conf").write_text(PODMAN)
    (images / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{images}/store"\nrunroot = "{images}/run"\n'
    )
    yield {"CONTAINERS_CONF": str(images / "containers.conf"), "CONTAINERS_STORAGE_CONF": str(images / "storage.conf")}
    subprocess.run(["umount", str(images / "store" / "overlay")], capture_output=True, check=False)


@pytest.fixture(params=["charliecloud", "podman"])
def project(request: pytest.FixtureRequest, images: Path, tmp_path: Path) -> Project:
    runtime = request.param
    for program in {"charliecloud": ["ch-run"], "podman": ["podman", "runc"]}[runtime]:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            pytest.skip(f"needs {program}, which is not installed here")
    return Project(tmp_path, images, runtime, request.getfixturevalue("podman") if runtime == "podman" else {})


def running(*words: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == list(words)]


def until(true: Callable[[], object], why: str) -> None:
    end = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < end, why
        time.sleep(0.02)


def unique() -> str:
    """Seconds that nobody else sleeps."""
    return f"9{time.time_ns() % 10**9}"


def test_functions_run_in_the_image_with_what_the_job_has(project: Project) -> None:
    lines = [{"task_id": f"t{n}", "data": {"n": n}} for n in range(6)]
    lines.append({"task_id": "own", "command": ["sh", "-c", "cat /data/in; echo $OF_THE_IMAGE; test -e /usr/bin/git"]})
    (project.folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    project.run("run", "tasks.jsonl", "--entry", "work:f", "--environment", "py", "--env", "SECRET=s 3", "--slots", "2",
                "--quiet", status=1)  # fmt: skip
    results = project.results()
    to = project.runtime != "podman"
    for n in range(6):
        want = {"python": "/usr/local/bin/python3", "of": "yes", "data": "mounted", "to": to}
        assert results[f"t{n}"]["result"] == want
        made = project.folder / f"made-{n}"
        assert made.read_text() == "s 3" and made.stat().st_uid == os.geteuid()
    assert results["own"]["state"] == "failed", "the machine's own programs are not to be seen"
    assert project.run("logs", "@last/t3") == "task 3\n"
    assert project.run("logs", "@last/own") == "mountedyes\n"
    assert project.left() == []


@pytest.mark.parametrize("project", ["podman"], indirect=True)
def test_a_crash_in_a_container_is_told_as_outside(project: Project) -> None:
    (project.folder / "tasks.jsonl").write_text('{"task_id": "t", "data": {"n": 1}}\n')
    project.run("run", "tasks.jsonl", "--entry", "work:crash", "--environment", "py", "--quiet", status=1)
    assert "signal 11 (SIGSEGV)" in str(project.results()["t"]["error"])


def test_a_command_runs_in_an_image_without_a_python(project: Project) -> None:
    words = ("run", "--environment", "plain", "--env", "A=a\nb", "--", "sh", "-c", 'echo "$A"; pwd; exit 3')
    assert project.run(*words, status=3) == f"a\nb\n{project.folder}\n"
    (project.folder / "tasks.jsonl").write_text('{"task_id": "t", "data": {"n": 1}}\n')
    said = project.run("run", "tasks.jsonl", "--entry", "work:f", "--environment", "plain", status=2)
    assert "functions cannot run in the image" in said and "it has no Python" in said


def only(*pairs: tuple[str, str]) -> pytest.MarkDecorator:
    """Of runtimes and images those that differ in how they are ended."""
    return pytest.mark.parametrize(("project", "image"), pairs, indirect=["project"])


@only(("charliecloud", "plain"), ("podman", "py"), ("podman", "plain"))
def test_a_timeout_ends_everything_in_the_container(project: Project, image: str) -> None:
    long = unique()
    text = f"setsid sleep {long} & sleep {long}"
    project.run("run", "--environment", image, "-t", "2s", "--", "sh", "-c", text, status=143)
    assert running("sleep", long) == []
    assert project.left() == []


@only(("charliecloud", "py"), ("podman", "plain"))
def test_a_controller_that_is_killed_leaves_no_container(project: Project, image: str) -> None:
    long = unique()
    run = project.start("run", "--environment", image, "--", "sh", "-c", f"setsid sleep {long} & sleep {long}")
    until(lambda: len(running("sleep", long)) == 2, "it did not begin")
    run.kill()
    run.communicate()
    until(lambda: not running("sleep", long), "the container lives on")
    until(lambda: not project.left(), "the container is still remembered")


@pytest.mark.needs("podman", "runc")
def test_an_image_is_pulled_once_and_what_cannot_be_pulled_is_said(
    images: Path, podman: dict[str, str], tmp_path: Path
) -> None:
    registry = rootfs.Registry(good=rootfs.PLATFORM, other="s390x")
    settings = tmp_path / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    project = Project(tmp_path, images, "podman", {**podman, "CONTAINERS_REGISTRIES_CONF": str(settings)})
    (project.folder / "elsewhere.yaml").write_text("environments: {pod: {image: nothing, runtime: podman}}\n")
    words = ("run", "--environment", "pod", "--image")
    try:
        assert project.run(*words, f"{registry.address}/box:good", "--", "echo", "hi") == "hi\n"
        once = list(registry.asked)
        assert project.run(*words, f"{registry.address}/box:good", "--", "echo", "hi") == "hi\n"
        assert once and registry.asked == once
        said = project.run(*words, f"{registry.address}/box:other", "--", "true", status=125)
        assert "is for s390x, and this machine is" in said
        said = project.run(*words, f"{registry.address}/box:none", "--", "true", status=125)
        assert f"the image {registry.address}/box:none cannot be pulled" in said
    finally:
        registry.close()


@pytest.mark.needs("podman", "runc")
def test_a_login_to_a_registry_that_travels_with_the_job_is_used_and_leaves_nothing(
    images: Path, podman: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine does that has no login of its own."""
    registry = rootfs.Registry("me:s3cret", good=rootfs.PLATFORM)
    settings = tmp_path / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    (tmp_path / "tmp").mkdir()
    own = {**podman, "CONTAINERS_REGISTRIES_CONF": str(settings), "TMPDIR": str(tmp_path / "tmp")}
    for name, value in {**own, "ELSEWHERE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", None)
    auth = base64.b64encode(b"me:s3cret").decode()
    login = json.dumps({"auths": {registry.address: {"auth": auth}}})
    box = containers.box_of(f"{registry.address}/box:good", (), "podman", (), tmp_path)
    try:
        with pytest.raises(UsageError, match="cannot be pulled"):
            settle(box)
        settled = settle(box, env={"DOCKER_AUTH_CONFIG": login})
        assert settled.found is not None and settled.found.image
        assert [
            path for path in (tmp_path / "tmp").rglob("*") if "s3cret" in path.name or path.name == "config.json"
        ] == []
    finally:
        registry.close()


@pytest.mark.needs("ch-run")
def test_a_sif_file_runs_by_apptainer(images: Path, tmp_path: Path) -> None:
    """Of Apptainer itself only the command line is shown."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "apptainer"
    program.write_text(APPTAINER.format(python=sys.executable, run=shutil.which("ch-run")))
    program.chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    project = Project(tmp_path, images, "apptainer", {"PATH": path, "ELSEWHERE_HOME": str(tmp_path / "home")})
    about = archives.read(images / "py.tar", "oci-archive")
    archives.unpack(images / "py.tar", about, tmp_path / "root")
    (project.folder / "py.sif").write_text(str(tmp_path / "root"))
    (project.folder / "elsewhere.yaml").write_text(
        "environments: {sif: {image: py.sif, runtime: apptainer, mounts: {data: /data}}}\n"
    )
    (project.folder / "tasks.jsonl").write_text('{"task_id": "t", "data": {"n": 1}}\n')
    project.run("run", "tasks.jsonl", "--entry", "work:f", "--environment", "sif", "--env", "SECRET=s", "--quiet")
    found = project.results()["t"]["result"]
    assert isinstance(found, dict) and (found["python"], found["data"]) == ("/usr/local/bin/python3", "mounted")
    assert (project.folder / "made-1").read_text() == "s"


@pytest.mark.needs("ch-run")
def test_a_container_runs_on_a_machine_of_a_cloud(images: Path, tmp_path: Path, far_home: Path) -> None:
    with sandbox() as cloud:
        project = Project(tmp_path, images, "charliecloud", {**cloud.variables, "ELSEWHERE_HOME": str(far_home)})
        (project.folder / "elsewhere.yaml").write_text(
            project.settings
            + "places: {cloud: {backend: aws, region: us-east-1, machine-types: c5.large, budget: 3}}\n"
            "default: {on: cloud}\n"
        )
        words = ("run", "--quiet", "--env", "A=b c", "--environment")
        said = project.run(*words, "plain", "--", "sh", "-c", "echo $A; cat work.py | cat; test -e /usr", status=1)
        assert said == f"b c\n{WORK}"


@pytest.mark.needs("sshd", "ssh", "ch-run")
def test_an_image_and_what_is_mounted_travel_to_a_host(images: Path, tmp_path: Path, far_home: Path) -> None:
    project = Project(tmp_path, images, "charliecloud", {"ELSEWHERE_HOME": str(far_home)})
    (tmp_path / "s").mkdir()
    with sshd.running(tmp_path / "s", "node1") as hosts:
        place = f'places: {{lab: {{backend: ssh, hosts: [node1], slots: 2, config: "{hosts.config}"}}}}\n'
        (project.folder / "elsewhere.yaml").write_text(project.settings + place)
        (project.folder / "tasks.jsonl").write_text('{"task_id": "t", "data": {"n": 1}}\n')
        words = ("--environment", "py", "--env", "SECRET=s", "--on", "lab")
        assert f", in oci-archive:{images}/py.tar" in project.run("run", "tasks.jsonl", "--entry", "work:f", *words)
        assert f"in 2 slots in oci-archive:{images}/py.tar." in project.run("explain")
        found = project.results()["t"]["result"]
        assert isinstance(found, dict) and (found["python"], found["data"]) == ("/usr/local/bin/python3", "mounted")
        assert not (project.folder / "made-1").exists(), "it ran there"
        other = (project.settings + place).replace("runtime: charliecloud", "runtime: singularity")
        (project.folder / "elsewhere.yaml").write_text(other)
        said = project.run("run", "tasks.jsonl", "--entry", "work:f", *words, status=2)
        assert "no container runtime is installed on a machine of lab; looked for singularity" in said
