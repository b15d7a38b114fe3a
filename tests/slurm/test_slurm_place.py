"""The verbs of a Slurm place on a real Slurm: the suite that every backend passes, and what is Slurm's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.backends.base import Condition, Launch
from elsewhere.backends.slurm import Slurm, SlurmSettings
from elsewhere.backends.slurm import place as place_of_slurm
from elsewhere.errors import ConfigError, NotFound, PlaceError, Unreachable, UsageError
from elsewhere.model.resources import Resources
from elsewhere.testing.backend_suite import STAYS, BackendConformance
from slurm.cluster import PROGRAMS, Cluster, until

pytestmark = [pytest.mark.needs(*PROGRAMS), pytest.mark.slow]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def make(cluster: Cluster, base: Path) -> Callable[..., Slurm]:
    def made(**more: object) -> Slurm:
        return Slurm(SlurmSettings(**{"work_dir": str(base), "walltime": "30m", **more}))  # type: ignore[arg-type]

    return made


class TestSlurm(BackendConformance):
    @pytest.fixture
    def backend(self, make: Callable[..., Slurm]) -> Iterator[Slurm]:
        yield make()

    def again(self, backend: Slurm) -> Slurm:  # type: ignore[override]
        return Slurm(backend.settings)


def suite() -> TestSlurm:
    found = TestSlurm()
    found.shape = Resources()
    return found


def shim(directory: Path, program: str, text: str) -> None:
    """A program of that name that is found before Slurm's own; `$REAL` in its text is that one."""
    import shutil

    real = shutil.which(program)
    path = directory / program
    path.write_text(f"#!/bin/sh\nREAL={real}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_reply_that_is_lost_is_found_again_by_name(
    make: Callable[..., Slurm], cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    shim(
        bin,
        "sbatch",
        '$REAL "$@" >/dev/null\necho "sbatch: error: Socket timed out on send/recv operation" >&2\nexit 1',
    )
    launch, before = suite().launch(2), os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{bin}:{before}")
    with pytest.raises(Unreachable):
        make().submit(launch)
    monkeypatch.setenv("PATH", before)
    natives = make().submit(launch)
    assert len(natives) == 2
    assert sorted(natives) == sorted(cluster.queue())


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ('"$REAL" "$@"; sleep 60', 1),  # accepted, and the answer comes when nobody waits for it any more
        ("sleep 60", 0),  # never got there
        ('echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1', 0),
    ],
    ids=["late", "hangs", "not accepted"],
)
def test_a_submission_that_gave_no_answer_in_time_is_asked_for_again_and_made_once(
    make: Callable[..., Slurm], cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str,
    before: int,
) -> None:  # fmt: skip
    (tmp_path / "bin").mkdir()
    shim(tmp_path / "bin", "sbatch", text)
    monkeypatch.setattr(place_of_slurm, "PATIENCE", timedelta(seconds=2))
    launch, path = suite().launch(2), os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    with pytest.raises(Unreachable):
        make().submit(launch)
    assert len(cluster.queue()) == 2 * before
    monkeypatch.setenv("PATH", path)
    natives = make().submit(launch)
    assert len(natives) == 2 and sorted(natives) == sorted(cluster.queue())


def test_of_two_submissions_of_a_launch_the_second_does_nothing(make: Callable[..., Slurm], base: Path) -> None:
    place, launch = make(), suite().launch(script="#!/bin/sh\necho it runs\n")
    [first] = place.submit(launch)
    until(lambda: place.status([first])[first].condition is Condition.STOPPED, "the first has run")
    for name in ("natives", "script"):
        (base / "launches" / launch.id / name).unlink()
    place.host.put(f"{base}/launches/{launch.id}/script", b"")  # as if its answer had been lost
    (base / "launches" / launch.id / "script").unlink()
    assert place.submit(launch) == [first]
    [second] = submissions(place, launch) - {first}
    until(lambda: place.status([second])[second].condition is Condition.STOPPED, "the second has ended")
    assert b"another job has this launch" in place.logs(second)
    assert b"it runs" not in place.logs(second)


def submissions(place: Slurm, launch: Launch) -> set[str]:
    return {one.native for one in place.owned() if one.labels["launch"] == launch.id}


@pytest.mark.parametrize("before", ["", "sleep 3"], ids=["at once", "after the first has begun"])
def test_of_an_sbatch_that_submits_twice_that_job_counts_which_says_so_first(
    make: Callable[..., Slurm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    (tmp_path / "bin").mkdir()
    shim(tmp_path / "bin", "sbatch", f'$REAL "$@" >/dev/null\n{before}\nexec $REAL "$@"')
    place, launch, path = make(), suite().launch(2, script="#!/bin/sh\necho it runs\n"), os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    natives = place.submit(launch)
    monkeypatch.setenv("PATH", path)
    found = submissions(place, launch)
    assert len(found) == 4 and set(natives) < found
    until(lambda: {one.condition for one in place.status(found).values()} == {Condition.STOPPED}, "all have ended")
    assert {native for native in found if b"it runs" in place.logs(native)} == set(natives)


def test_a_launch_of_many_is_one_submission(make: Callable[..., Slurm], cluster: Cluster) -> None:
    natives = make().submit(suite().launch(6))
    assert len({native.partition("_")[0] for native in natives}) == 1
    assert sorted(natives) == sorted(cluster.queue())


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        ({"partition": "shrot"}, "no partition 'shrot'", "Did you mean short?"),
        ({"slurm": {"constraint": "fsat"}}, "nvalid feature", "Did you mean fast?"),
        ({"slurm": {"fastest": "yes"}}, "nrecognized option", "slurm"),
        ({"slurm": {"gres": "fpga:1"}}, "eneric resource", ""),
        ({"work_dir": "/nowhere/at/all"}, "no directory /nowhere/at/all", "mkdir -p /nowhere/at/all"),
    ],
)
def test_what_slurm_would_not_take_is_refused_in_its_own_words(
    make: Callable[..., Slurm], cluster: Cluster, settings: dict[str, object], said: str, hint: str
) -> None:
    with pytest.raises((PlaceError, UsageError)) as caught:
        make(**settings).shapes(Resources())
    assert said in caught.value.message and hint in caught.value.hint, (caught.value.message, caught.value.hint)
    assert cluster.queue() == []


@pytest.mark.parametrize(
    ("settings", "need", "said"),
    [
        ({}, Resources(cpus=5), "5 CPUs of 4"),
        ({}, Resources(memory=8 << 30), "8GiB of memory of 3.9GiB"),
        ({}, Resources(gpus=3), "3 GPUs of 2"),
        ({"tasks_per_job": 3}, Resources(cpus=2), "3 tasks in one job need more"),
        ({"partition": "short", "walltime": "03:00:00"}, Resources(), "more than the partition short allows"),
    ],
)
def test_what_no_node_has_is_refused_with_the_nearest(
    make: Callable[..., Slurm], settings: dict[str, object], need: Resources, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make(**settings).shapes(need)
    assert said in caught.value.message and caught.value.hint


def test_gpus_memory_and_a_constraint_are_asked_for(make: Callable[..., Slurm], cluster: Cluster) -> None:
    place = make(slurm={"constraint": "fast"}, tasks_per_job=2)
    [shape] = place.shapes(Resources(cpus=1, memory=300 << 20, gpus=1, gpu_type="a100"))
    assert (shape.slots, shape.most) == (2, 20)
    whole = suite().launch()
    [native] = place.submit(type(whole)(whole.id, 1, STAYS, whole.shape, whole.term, whole.start_by, whole.labels,
                                        shape.offer))  # fmt: skip
    said = cluster.run("scontrol", "show", "job", native)
    for word in ("NumCPUs=2", "mem=600M", "gpu:a100:2", "Features=fast", "TimeLimit=00:30:00"):
        assert word in said, (word, said)


def test_modules_and_lines_come_before_the_agent(make: Callable[..., Slurm]) -> None:
    place = make(prologue=('module() { echo module "$@"; }', "export COLOUR=red"), modules=())
    [native] = place.submit(
        suite().launch(script="#!/bin/sh\nmodule load it; echo colour $COLOUR of $ELSEWHERE_MACHINE\n")
    )
    until(lambda: b"colour" in place.logs(native), "it has run")
    assert place.logs(native).decode().splitlines() == ["module load it", f"colour red of {native}"]


def test_modules_that_cannot_be_loaded_end_the_job_with_their_name(make: Callable[..., Slurm]) -> None:
    place = make(modules=("no-such/1.0",), prologue=())
    [native] = place.submit(suite().launch(script="#!/bin/sh\necho it runs\n"))
    until(lambda: place.status([native])[native].condition is Condition.FAILED, "it has failed")
    assert b"cannot be loaded" in place.logs(native) and b"it runs" not in place.logs(native)


def test_check_shows_partitions_limits_and_what_is_free(make: Callable[..., Slurm]) -> None:
    findings = {one.what: one for one in make(partition="short", walltime="2m").check()}
    assert all(one.ok for one in findings.values()), findings
    assert "2 of 2 nodes idle, up to 2m00s a job, nodes of 4 CPUs" in findings["partition short (used)"].detail
    wrong = {one.what: one for one in make(partition="shrot").check()}
    assert not wrong["partition shrot"].ok and "Did you mean short?" in wrong["partition shrot"].hint


def test_a_job_that_an_admin_ends_and_a_node_that_fails_are_told_apart(
    make: Callable[..., Slurm], cluster: Cluster
) -> None:
    place = make()
    one, other = place.submit(suite().launch(2))
    until(lambda: all(s.condition is Condition.RUNNING for s in place.status([one, other]).values()), "both run")
    cluster.run("scancel", one)
    node = cluster.run("squeue", "-h", "-j", other, "-o", "%N").strip()
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        until(lambda: all(s.ended for s in place.status([one, other]).values()), "both have ended")
        seen = place.status([one, other])
        assert (seen[one].condition, seen[other].condition) == (Condition.STOPPED, Condition.PREEMPTED)
        assert "node failed" in seen[other].reason
    finally:
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # or it came by itself
        cluster.until_nodes_are("idle", [node])


def test_a_controller_that_does_not_answer_is_not_reached_and_nothing_is_gone(
    make: Callable[..., Slurm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    for name in ("squeue", "scancel", "sbatch"):
        shim(bin, name, f'echo "{said}" >&2; exit 1')
    place = make()
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    for verb in (lambda: list(place.owned()), lambda: place.cancel(["7"]), lambda: place.submit(suite().launch())):
        with pytest.raises(Unreachable, match="Unable to contact"):
            verb()


def test_without_slurm_it_says_where_to_find_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("sh", "id"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="no Slurm here") as caught:
        Slurm().shapes(Resources())
    assert "login" in caught.value.hint
    assert [one.ok for one in Slurm().check()] == [False]


def test_settings_that_cannot_be_are_refused_before_slurm_is_asked() -> None:
    for wrong, said in (
        ({"slurm": {"output": "x"}}, "output cannot be set"),
        ({"slurm": {"time": 5}}, "time cannot be set"),
        ({"slurm": {"-J": "x"}}, "no long option"),
        ({"walltime": "5s"}, "must be 1m or more"),
        ({"walltime": "soon"}, "is not a duration"),
        ({"max_jobs": "many"}, "max-jobs must be a whole number"),
        ({"slurm": "fast"}, "slurm must be a mapping"),
        ({"max_jobs": 0}, "max-jobs must be 1 or more"),
        ({"how": "arrays"}, "how must be array or pilots"),
        ({"work_dir": "scratch"}, "whole path"),
    ):
        with pytest.raises(ConfigError, match=said):
            SlurmSettings(**wrong)


@pytest.mark.parametrize(
    ("settings", "said", "near"),
    [
        ({"account": "gcmis"}, "Invalid account or account/partition combination specified", "Did you mean gcims?"),
        ({"qos": "lnog"}, "Invalid qos specification", "Did you mean long?"),
    ],
)
def test_an_account_or_qos_that_is_not_known_is_refused_with_the_nearest_of_the_users_own(
    make: Callable[..., Slurm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str,
    near: str,
) -> None:  # fmt: skip
    bin = tmp_path / "bin"
    bin.mkdir()
    shim(bin, "sbatch", f'echo "sbatch: error: Batch job submission failed: {said}" >&2; exit 1')
    shim(bin, "sacctmgr", "echo '|gcims|normal,long|'; echo 'other|other|long|'")
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    with pytest.raises(UsageError) as caught:
        make(**settings).shapes(Resources())
    assert said in caught.value.message and near in caught.value.hint, caught.value.hint
    shim(bin, "sacctmgr", "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1")
    with pytest.raises(UsageError) as caught:
        make(**settings).shapes(Resources())
    assert "sacctmgr show" in caught.value.hint
