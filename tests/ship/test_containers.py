"""Which runtime is there, and the words by which it runs something: for all of them, here or not."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from elsewhere.agent.boot import Boot
from elsewhere.agent.furnish import furnish
from elsewhere.agent.steps import CannotFurnish
from elsewhere.controller import freight
from elsewhere.errors import UsageError
from elsewhere.ledger import tables
from elsewhere.model.job import Box, Entry, Found, JobSpec, Mount
from elsewhere.ship import charter, containers, images
from elsewhere.ship.runtime import own
from elsewhere.slot import keeper

DATA = Mount("/data/in", "/data", writable=False)
WORK = Mount("/home/me/project", "/home/me/project")


def box(kind: str, mounts: Sequence[Mount] = (DATA,), options: tuple[str, ...] = (), root: bool = True) -> Box:
    program = f"/usr/bin/{containers.KINDS[kind].program}"
    found = Found(kind, program, "IMAGE", "/usr/bin/python3", "3.12", root, {"OF_THE_IMAGE": "yes"})
    return Box("python:3.12", tuple(mounts), options=options, found=found)


def words(given: Box, monkeypatch: pytest.MonkeyPatch, gpus: bool = False, memory: int = 0) -> list[str]:
    monkeypatch.setenv(keeper.MARK, "mark.0")
    plan = {**containers.plan(given, [WORK], {"SECRET"}, gpus), "memory": memory}
    return keeper.command(json.loads(json.dumps(plan)), ["echo", "a b"], "elsewhere-1")


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_an_engine_is_told_user_mounts_directory_and_the_names_of_variables(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = words(box(kind), monkeypatch, gpus=True)
    here = str(Path.cwd())
    ipc = ["--ipc=host"] if Path("/dev/mqueue").is_dir() else []
    gpus = ["--gpus", "all"] if kind == "docker" else ["--device", "nvidia.com/gpu=all"]
    assert said == [
        f"/usr/bin/{kind}", "run", "--rm", "--pull=never", "--log-driver=none", "--network=host", *ipc,
        "--security-opt=label=disable", "--entrypoint", "", "--user", "0:0",
        "--volume", "/data/in:/data:ro", "--volume", "/home/me/project:/home/me/project", *gpus,
        "--workdir", here, "--name", "elsewhere-1", "--label", "elsewhere.slot=mark.0",
        "--env", "SECRET", "IMAGE", "echo", "a b",
    ]  # fmt: skip


def test_where_root_in_the_container_is_not_us_it_is_run_as_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(box("docker", root=False), monkeypatch, memory=1 << 30)
    assert said[said.index("--user") + 1] == f"{os.geteuid()}:{os.getegid()}"
    assert said[said.index("--memory") + 1] == str(1 << 30)
    assert "HOME=/tmp" in said


@pytest.mark.parametrize("kind", ["apptainer", "singularity"])
def test_apptainer_gets_variables_under_its_prefix(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3")
    assert words(box(kind), monkeypatch, gpus=True) == [
        f"/usr/bin/{kind}", "exec", "--cleanenv", "--no-home", "--bind", "/data/in:/data:ro",
        "--bind", "/home/me/project:/home/me/project", "--nv", "--pwd", str(Path.cwd()), "IMAGE", "echo", "a b",
    ]  # fmt: skip
    told = keeper.environment(containers.plan(box(kind), (), {"SECRET"}))
    assert told[f"{kind.upper()}ENV_SECRET"] == "s3"


def test_charliecloud_gets_the_variables_of_image_and_task_and_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3")
    monkeypatch.setenv("LD_PRELOAD", "/ours.so")
    given = box("charliecloud", [Mount("/data/in", "/data")])
    assert words(given, monkeypatch)[:4] == ["/usr/bin/ch-run", "--no-passwd", "--bind", "/data/in:/data"]
    assert words(given, monkeypatch)[-4:] == ["IMAGE", "--", "echo", "a b"]
    told = keeper.environment(containers.plan(given, (), {"SECRET"}))
    assert told["SECRET"] == "s3" and told["OF_THE_IMAGE"] == "yes" and "LD_PRELOAD" not in told


@pytest.mark.parametrize("option", ["--network=none", "--network"])
def test_an_option_of_the_user_takes_the_place_of_ours(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(box("podman", options=(option, "none")), monkeypatch)
    assert option in said and "--network=host" not in said


def test_what_lies_within_another_mount_is_not_mounted_again() -> None:
    given = [Mount("/a", "/a"), Mount("/a/b", "/a/b", False), Mount("/a/c", "/d"), Mount("/x", "/x", False),
             Mount("/x/y", "/x/y"), Mount("/d", "/d")]  # fmt: skip
    assert containers.least(given) == [
        Mount("/a", "/a"), Mount("/a/c", "/d"), Mount("/x", "/x", False), Mount("/x/y", "/x/y"),
    ]  # fmt: skip


def test_the_plan_of_a_slot_has_names_of_variables_and_no_values(tmp_path: Path) -> None:
    boot = Boot(Entry("call"), "/usr/bin/python3", str(tmp_path), env={"SECRET": "s3cret"}, box=box("podman", ()),
                home=str(tmp_path))  # fmt: skip
    said = boot.argv(7, 8, tmp_path, 0)
    assert "s3cret" not in "".join(said)
    plan = json.loads(said[3])
    assert plan["names"] == [keeper.MARK, "SECRET"] and plan["inside"][0] == "/usr/bin/python3"
    assert boot.words()["box"] == {} and boot.words()["parent"] == 0


def test_no_runtime_says_what_was_looked_for_and_how_to_have_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looked for podman, docker, apptainer, singularity, ch-run") as caught:
        containers.look(path=str(tmp_path))
    assert "apt install podman" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"looked for apptainer, singularity\n"):
        containers.look(form="sif", path=str(tmp_path))
    with pytest.raises(UsageError, match="docker takes no image file of the kind sif"):
        containers.look("docker", "sif", str(tmp_path))


def test_the_first_runtime_that_is_there_is_taken(tmp_path: Path) -> None:
    for name in ("docker", "ch-run"):
        (tmp_path / name).touch(0o755)
    assert containers.look(path=str(tmp_path)) == ("docker", str(tmp_path / "docker"))
    assert containers.look("charliecloud", path=str(tmp_path)) == ("charliecloud", str(tmp_path / "ch-run"))


@pytest.mark.parametrize(
    ("image", "mounts", "runtime", "said"),
    [
        ("oci-archive:none.tar", {}, "", "there is no image file .*/none.tar"),
        ("none.sif", {}, "", "there is no image file .*/none.sif"),
        ("/scratch/image", {}, "", "is a path, and does not say what kind of image"),
        ("python", {}, "dcoker", "there is no container runtime 'dcoker'"),
        ("python", {"data": "data"}, "", "must say where"),
        ("python", {"data": "/../data"}, "", "must say where"),
        ("python", {"data": "/"}, "", "must say where"),
        ("python", {"data": "/data:read"}, "", "must say where"),
    ],
)
def test_a_box_that_cannot_be_is_answered_in_a_sentence(
    image: str, mounts: dict[str, str], runtime: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        containers.box_of(image, mounts.items(), runtime, (), tmp_path)


def test_an_image_file_of_the_machines_does_not_travel_and_one_of_here_does(tmp_path: Path) -> None:
    (tmp_path / "here.sif").touch()
    asked: list[str] = []

    def lies(path: str) -> bool:
        asked.append(path)
        return True

    there, here = (containers.box_of(image, (), "", (), tmp_path, lies) for image in ("/far/a.sif", "here.sif"))
    assert (there.image, there.there, asked) == ("sif:/far/a.sif", True, ["/far/a.sif"])
    assert not here.there
    spec = JobSpec("job-1", "", Entry("command", ""), box=there)
    assert freight.described(spec, own(), {}).roots == {}
    assert list(freight.described(replace(spec, box=here), own(), {}).roots) == [str(tmp_path / "here.sif")]
    with pytest.raises(UsageError, match=r"no image file .*/hero\.sif") as error:
        containers.box_of("hero.sif", (), "", (), tmp_path, lies)
    assert error.value.hint == "Did you mean here.sif?"


def test_a_relative_mount_travels_and_an_absolute_one_is_the_machines_own(tmp_path: Path) -> None:
    made = containers.box_of("python", [("data", "/data:ro"), ("/scratch", "/scratch")], "", (), tmp_path)
    assert made.mounts == (
        Mount(str(tmp_path / "data"), "/data", writable=False, sent=True), Mount("/scratch", "/scratch"),
    )  # fmt: skip


def test_mounts_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no /nowhere here, which is to be mounted at /data"):
        containers.check_mounts(box("podman", [Mount("/nowhere", "/data")]))
    (tmp_path / "a:b").mkdir()
    with pytest.raises(UsageError, match=r"podman cannot mount .*a:b: there is a ':' in its path"):
        containers.check_mounts(box("podman", [Mount(str(tmp_path / "a:b"), "/data")]))
    with pytest.raises(UsageError, match="charliecloud cannot mount /data so that nobody writes there"):
        containers.check_mounts(box("charliecloud", [Mount(str(tmp_path), "/data", writable=False)]))


def test_a_place_for_a_mount_is_not_made_through_a_link_of_the_image(tmp_path: Path) -> None:
    image, outside = tmp_path / "image", tmp_path / "outside"
    image.mkdir()
    outside.mkdir()
    (image / "link").symlink_to(outside)
    containers.make_targets(image, [Mount(str(outside), "/a/b"), Mount(__file__, "/etc/f")])
    assert (image / "a/b").is_dir() and (image / "etc/f").is_file()
    with pytest.raises(UsageError, match="/link/x cannot be mounted: link is a link in the image"):
        containers.make_targets(image, [Mount(str(outside), "/link/x")])
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("python", "version", "kind", "said"),
    [
        ("", "", "function", "functions cannot run in the image i: it has no Python"),
        ("", "3.6", "call", "its Python is 3.6"),
        ("/p", "3.9", "call", "the image i has 3.9"),
    ],
)
def test_functions_want_a_python_in_the_image_and_calls_our_own(
    python: str, version: str, kind: str, said: str
) -> None:
    made = Box("i", found=Found("podman", "/p", "i", python, version))
    images.check_kind(made, "command")
    with pytest.raises(UsageError, match=said):
        images.check_kind(made, kind)


def test_a_box_is_written_down_and_travels_with_its_paths(tmp_path: Path) -> None:
    mounts = (Mount("/here/data", "/data", sent=True), Mount("/scratch", "/scratch"))
    made = Box("oci-archive:/here/i.tar", mounts, "podman", ("--a",), box("podman").found)
    spec = JobSpec("job-1", "n", Entry("command"), cwd="/here", box=made)
    assert tables.spec_from_json(tables.spec_to_json(spec)).box == made
    roots = {"/here": "code/0", "/here/data": "inputs/0/data", "/here/i.tar": "inputs/1/i.tar"}
    there = charter.unpack(charter.pack(charter.Charter(spec, "", roots=roots))).there(tmp_path, "/python")
    assert there.box is not None
    assert there.box.image == f"oci-archive:{tmp_path}/inputs/1/i.tar"
    assert [mount.source for mount in there.box.mounts] == [f"{tmp_path}/inputs/0/data", "/scratch"]
    named = replace(spec, box=replace(made, image="host:5000/a/b:1"))
    assert charter.Charter(named, "", roots=roots).there(tmp_path, "").box.image == "host:5000/a/b:1"  # type: ignore[union-attr]


def test_a_machine_without_a_runtime_says_so_before_any_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = Box("python:3.12", (Mount(f"{tmp_path}/sent", "/data", sent=True),), "singularity")
    spec = JobSpec("job-1", "n", Entry("command"), cwd=str(tmp_path), box=made)
    with pytest.raises(CannotFurnish) as caught:
        furnish(charter.Charter(spec, str(tmp_path)), tmp_path)
    assert caught.value.step == "container" and "looked for singularity" in caught.value.said
    assert "apt install singularity-ce" in caught.value.said


@pytest.mark.parametrize(
    ("said", "final", "hint"),
    [
        ("Error: reading manifest 3.21 in docker.io/library/python: manifest unknown", True, "no such image"),
        ("Error response from daemon: pull access denied for box, repository does not exist", True, "a login"),
        ("error: unauthorized or not in registry: registry.example.com/box:1", True, "a login"),
        ('Error: short-name "box:1" did not resolve to an alias and no registries are defined', True, "whole name"),
        ("no matching manifest for linux/amd64 in the manifest list entries", True, "these processors"),
        ("Error: initializing source docker://box: pinging container registry box: i/o timeout", False, ""),
        ("toomanyrequests: You have reached your pull rate limit", False, ""),
    ],
)
def test_what_no_machine_will_get_is_told_apart_from_what_may_be_had_later(
    said: str, final: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "podman"
    program.write_text(f"#!/bin/sh\n[ $1 = pull ] && echo '{said}' >&2\nexit 125\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    spec = JobSpec("job-1", "n", Entry("command"), cwd=str(tmp_path), box=Box("r.example.com/box:1", (), "podman"))
    with pytest.raises(CannotFurnish) as caught:
        furnish(charter.Charter(spec, str(tmp_path)), tmp_path)
    assert caught.value.final is final and said in caught.value.said and hint in caught.value.said
