"""What may be said to a cluster, and how it is refused; whose turn it is to leave. No Dask is started."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elsewhere.api.cluster import Cluster
from elsewhere.api.dask import containers, files, records, versions
from elsewhere.api.dask.containers import Asked, Site
from elsewhere.api.dask.engine import unknown
from elsewhere.api.dask.keeping import Following, leaving
from elsewhere.api.dask.versions import Versions, differ
from elsewhere.backends.local import Local
from elsewhere.errors import ConfigError, StateError, UnknownJob, UsageError
from elsewhere.model.place import Limits, Place
from elsewhere.pool.hold import Member


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def site(folder: Path) -> Site:
    return Site(Place("local", "local"), Local(), folder, folder)


def member(number: int, arrived: bool) -> Member:
    return Member("a", number, cast("Any", None), arrived=arrived)


def test_those_that_have_not_come_leave_first_then_idle_ones_then_the_youngest() -> None:
    staying = [member(1, True), member(2, True), member(3, True), member(4, False)]
    assert [one.number for one in leaving(staying, {"a/3": 1, "a/1": 0}, 4)] == [4, 2, 1, 3]
    assert leaving(staying, {}, -1) == []


@pytest.mark.parametrize(("tasks", "threads", "target"), [(0, 1, 1), (3, 1, 3), (3, 2, 2), (100, 1, 5)])
def test_workers_that_follow_the_work_stay_within_their_bounds(tasks: int, threads: int, target: int) -> None:
    assert Following(1, 5).target(tasks, threads) == target


def test_both_ends_must_have_the_same_python_and_the_same_dask() -> None:
    ours = Versions("3.11", "2026.8.0")
    assert differ(ours, ours, "x") == ""
    assert differ(Versions("3.12", "2026.8.0"), ours, "x").startswith("x has Python 3.12, and this is Python 3.11")
    assert differ(Versions("3.11", "2025.1.0"), ours, "x").startswith("x has Dask 2025.1.0")


def test_an_unknown_tag_is_refused_with_the_nearest() -> None:
    assert str(unknown("gcma", {"gcam": 1, "osiris": 2})) == "there is no container 'gcma'; did you mean gcam?"


@pytest.mark.parametrize("tag", ["", "a b", "-a", "a" * 41, 3])
def test_what_cannot_be_a_tag(tag: object) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        containers.written_as(tag)


def test_tags_are_written_in_small_letters() -> None:
    assert containers.written_as("GCAM-5.4") == "gcam-5.4"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(cpus=0), "cpus must be a number greater than 0"),
        (Asked(memory="much"), "is not a size"),
        (Asked(threads=0), "threads must be a whole number"),
        (Asked(cpus=100_000), "no machine of local has what a asks for: 100000 CPUs"),
        (Asked(mounts={"/data": "/elsewhere"}), "without an image there is nothing to mount /data -> /elsewhere in"),
        (Asked(environment="nothing"), "there is no environment 'nothing'"),
        (Asked(python="/bin/true"), "does not run"),
        (Asked(python="x", image="y"), "are one too many"),
        (Asked(image="oci-archive:nothing.tar"), "there is no image file"),
    ],
)
def test_a_container_that_cannot_be_had_is_refused_when_it_is_added(tmp_path: Path, asked: Asked, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        containers.settle("a", asked, site(tmp_path))


def test_an_interpreter_without_dask_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'distributed'\" >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(UsageError, match=r"the Python of a cannot be a Dask worker: .*No module named") as caught:
        versions.check(lambda words: [str(bare), *words], "the Python of a", {})
    assert f"distributed=={versions.here().dask}" in caught.value.hint


def test_a_file_of_containers_is_read_and_every_mistake_of_it_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "containers.yaml"
    path.write_text("GCAM: {image: gcam.sif, cpus: 10, memory: 20G, workers: 3}\nosiris:\n  adapt: {maximum: 5}\n")
    gcam, osiris = files.read(path)
    assert (gcam.name, gcam.container["memory"], gcam.workers) == ("gcam", 20 * 10**9, 3)
    assert (osiris.adapt, osiris.container) == ({"maximum": 5}, {})
    path.write_text("gcam:\n  cpu: 1\n  memory: much\nb c: {workers: -1}\nd: 3\n")
    with pytest.raises(ConfigError) as caught:
        files.read(path)
    lines = [fault.removeprefix(f"{path}:").partition(":")[0] for fault in caught.value.faults]
    assert sorted(lines) == ["2", "3", "4", "4", "5"]
    assert any("did you mean 'cpus'?" in fault for fault in caught.value.faults)


def test_a_cluster_is_found_by_its_name_and_one_that_is_not_there_is_not() -> None:
    with pytest.raises(UnknownJob, match="no cluster yet"):
        records.find("mine")
    pid, began = records.of_this_process()
    made = records.Record("clu-01", "mine", "local", "local", pid, began)
    records.create(made)
    assert records.find("mine") == made == records.find("01")
    assert made.alive
    with pytest.raises(UsageError, match="a cluster 'mine' is up already"):
        records.create(made)
    assert records.free_name("mine") == "mine-2"
    with pytest.raises(UnknownJob) as caught:
        records.find("mina")
    assert caught.value.hint == "Did you mean mine?"


def test_a_place_that_cannot_say_whose_machines_listen_is_refused_with_the_reason_and_where_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("botocore")
    clouds = pytest.importorskip("elsewhere.api.dask.clouds")
    monkeypatch.setattr(clouds, "is_for", lambda _: False)
    with pytest.raises(UsageError, match="no Dask cluster can stand at aws: its processes must listen") as caught:
        Cluster(on="aws")
    assert "a place of hosts that you reach by SSH" in str(caught.value.hint)
    assert records.listing() == []


def test_hosts_have_their_scheduler_among_them_and_nowhere_else() -> None:
    pytest.importorskip("distributed")
    Path("elsewhere.yaml").write_text("places: {lab: {backend: ssh, hosts: [node]}}\n")
    with pytest.raises(UsageError, match="workers of lab cannot reach this machine") as caught:
        Cluster(on="lab", scheduler="here")
    assert caught.value.hint == "Write scheduler: job, the default there: it runs on the first host."
    with pytest.raises(UsageError, match="lab has no login node for a scheduler"):
        Cluster(on="lab", scheduler="login")
    assert records.listing() == []


def test_futures_of_a_client_that_was_cut_off_say_what_was_lost_and_what_to_do() -> None:
    pytest.importorskip("distributed")
    from elsewhere.api.dask.clients import lost

    said = lost("mine")
    assert said.startswith("The scheduler of the cluster mine was not heard for two minutes, or has ended")
    assert "Submit it again" in said
    assert "elsewhere cluster status mine" in said


def test_a_scheduler_that_workers_could_not_reach_is_refused_before_anybody_is_asked() -> None:
    pytest.importorskip("distributed")
    Path("elsewhere.yaml").write_text("places: {hpc: {backend: slurm, login: nobody@nowhere, scheduler: here}}\n")
    with pytest.raises(UsageError, match="workers of hpc cannot reach this machine, so its scheduler") as caught:
        Cluster(on="hpc")
    assert caught.value.hint == "Write scheduler: login, which is the default there, or scheduler: job."
    assert records.listing() == []
    with pytest.raises(ConfigError, match="scheduler must be job, login or here, not 'log'"):
        Cluster(on=Place("hpc", "slurm", {"scheduler": "log"}))


def test_a_worker_of_another_version_spoils_its_tag_and_is_sent_home() -> None:
    pytest.importorskip("distributed")
    from elsewhere.api.dask.keeping import Keeping

    calls: list[str] = []
    one = member(1, False)
    hold: Any = SimpleNamespace(
        arrive=lambda name: one, spoil=lambda kind, why: calls.append(f"{kind}: {why}"), release=lambda *_: None
    )
    scheduling: Any = SimpleNamespace(turn_away=calls.append, over="")
    keeping = Keeping(hold, scheduling, cast("Any", None))
    keeping._arrived("a/1", {"host": {"python": "3.9.1.final.0"}, "packages": {"distributed": "1"}})
    assert calls[0].startswith("a: the Python of a has Python 3.9")
    assert calls[1] == "a/1"


class Waits:
    """A keeping whose scheduler says what waits, and whose hold has what is given."""

    def __init__(self, waiting: int, wanted: int = 0, trouble: str = "", note: str = "", paused: str = "") -> None:
        from elsewhere.api.dask.keeping import Keeping
        from elsewhere.api.dask.scheduling import Facts

        self.spoiled: list[str] = []
        hold: Any = SimpleNamespace(
            wanted=lambda _: wanted, trouble=lambda _: trouble, note=lambda _: note,
            staying=lambda _: [member(1, True)] if paused else [],
            step=lambda *_: None, stir=lambda: None, release=lambda *_: None, members=[],
            limits=Limits(), spent=lambda _: Decimal(0), spoil=lambda kind, why: self.spoiled.append(why),
        )  # fmt: skip
        self.hold: Any = hold
        self.facts = {"model": waiting} if waiting else {}
        scheduling: Any = SimpleNamespace(facts=lambda: Facts({}, self.facts, self.facts, [paused]), over="")
        self.keeping = Keeping(hold, scheduling, deque())
        self.keeping.containers["model"] = cast("Any", None)


def test_a_cluster_that_has_come_to_the_budget_of_its_place_ends_its_workers_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waits = Waits(0, wanted=1)
    waits.hold.limits = Limits(budget=Decimal("0.5"))
    waits.keeping.turn(0.0)
    assert waits.spoiled == []
    waits.hold.spent = lambda _: Decimal("0.51")
    waits.keeping.turn(1.0)
    assert waits.spoiled == ["its machines came to $0.5, which is the budget of the place: its workers are ended"]
    assert "which is the budget of the place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "none was asked for; add_workers('model', n=1) does"),
        ({"wanted": 2}, "2 asked for, none is here yet"),
        ({"wanted": 1, "note": "Resources"}, "1 asked for, none is here yet (Resources)"),
        ({"wanted": 1, "trouble": "it has no Dask"}, "it has no Dask"),
        (
            {"wanted": 1, "paused": "a/1"},
            "1 of 1 paused near the memory that they have; add_container(memory=...) gives more",
        ),
    ],
)
def test_tasks_that_wait_for_a_worker_say_why(fields: dict[str, Any], why: str) -> None:
    pytest.importorskip("distributed")
    waits = Waits(2, **fields)
    waits.keeping.turn(0.0)
    assert waits.keeping.waiting("model") == f"2 tasks wait for a worker of model: {why}"
    waits.facts = {}
    waits.keeping.turn(1.0)
    assert waits.keeping.waiting("model") == ""


def test_one_that_the_scheduler_has_given_up_is_replaced_whatever_its_machine_shows() -> None:
    pytest.importorskip("distributed")
    from elsewhere.api.dask.keeping import GRACE
    from elsewhere.api.dask.scheduling import Facts

    waits = Waits(0, wanted=2)
    there, lost = member(1, True), member(2, True)
    lost.kind = there.kind = "model"
    gone: list[Member] = []
    hold: Any = waits.keeping.hold
    hold.members, hold.release = [there, lost], lambda them, now: gone.extend(them)
    busy: Any = waits.keeping.scheduling
    busy.facts, busy.turn_away = lambda: Facts({"model/1": 0}), lambda name: None
    for now in (0.0, GRACE - 1):
        waits.keeping.turn(now)
        assert gone == []
    waits.keeping.turn(GRACE)
    assert gone == [lost]


def test_that_tasks_wait_is_said_once_after_a_while_and_again_when_they_wait_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("distributed")
    from elsewhere.api.dask.keeping import PATIENCE

    waits = Waits(1)
    for now in (0.0, PATIENCE - 1):
        waits.keeping.turn(now)
    assert capsys.readouterr().err == ""
    for now in (PATIENCE, PATIENCE + 60):
        waits.keeping.turn(now)
    said = "elsewhere: 1 task waits for a worker of model: none was asked for; add_workers('model', n=1) does\n"
    assert capsys.readouterr().err == said
    before, waits.facts = waits.facts, {}
    waits.keeping.turn(100.0)
    waits.facts = before
    for now in (101.0, 101 + PATIENCE):
        waits.keeping.turn(now)
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"on": "lcal"}, "there is no place 'lcal'"),
        ({"name": "a b"}, "'a b' cannot name a cluster"),
        ({"walltime": "long"}, "walltime: 'long' is not a duration"),
        ({"silence_logs": "loud"}, "silence_logs must be a level"),
        ({"interface": "ib99"}, "the Dask scheduler cannot start: .*ib99"),
        ({"scheduler": "jobs"}, "scheduler must be one of here, job, login, not 'jobs'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_and_none_is_up(words: dict[str, str], said: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match=said):
        Cluster(**words)
    assert not [record for record in records.listing() if record.alive]


def test_a_cluster_of_another_host_is_told_by_its_host() -> None:
    made = records.Record("clu-02", "far", "local", "local", 1, 0.0, host="elsewhere.example")
    records.create(made)
    assert records.find("far").alive
    with pytest.raises(StateError, match=r"is run by process 1 on elsewhere\.example"):
        Cluster.attach("far")
