"""What Slurm's commands print, read: on real answers, kept in `answers/`, and on lines that were rare."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from elsewhere.backends.base import Condition
from elsewhere.backends.slurm import books, caps, fitting, request, text, waiting
from elsewhere.backends.slurm.refusals import refusal
from elsewhere.backends.slurm.settings import SlurmSettings
from elsewhere.errors import AccessDenied, PlaceError, QuotaExceeded, Refused, Throttled, Unreachable, UsageError
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

ANSWERS = Path(__file__).with_name("answers")


@pytest.mark.parametrize(
    ("line", "condition", "reason"),
    [
        ("7|PENDING|1700000000|N/A||Priority", Condition.PENDING,
         "Slurm has it wait: Priority (others come before it)"),
        ("7_3|RUNNING|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|COMPLETING|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|SUSPENDED|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|REQUEUE_HOLD|N/A|N/A||launch failed", Condition.PENDING, "Slurm has it wait: launch failed"),
        ("7|TIMEOUT|1700000000|1700000060|n1|TimeLimit", Condition.PREEMPTED, "its walltime was over"),
        ("7|PREEMPTED|1700000000|1700000060|n1|None", Condition.PREEMPTED,
         "Slurm took it back for a job of higher priority"),
        ("7|NODE_FAIL|1700000000|1700000060|n1|NodeDown", Condition.PREEMPTED, "its node failed"),
        ("7|OUT_OF_MEMORY|1700000000|1700000060|n1|OutOfMemory", Condition.FAILED, "it used more memory than it had"),
        ("7|FAILED|1700000000|1700000060|n1|NonZeroExitCode", Condition.FAILED,
         "its script ended badly (NonZeroExitCode)"),
        ("7|FAILED|1700000000|1700000060|n1|JobLaunchFailure", Condition.FAILED,
         "Slurm could not start it on n1, or its script was killed: does that node see the work-dir?"),
        ("7|SIGNALING|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|STAGE_OUT|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|RESIZING|1700000000|1700003600|n1|None", Condition.RUNNING, ""),
        ("7|RESV_DEL_HOLD|N/A|N/A||ReservationDeleted", Condition.PENDING,
         "Slurm has it wait: ReservationDeleted (its reservation is gone)"),
        ("7|DEADLINE|1700000000|1700000060|n1|DeadLine", Condition.PREEMPTED, ""),
        ("7|REVOKED|1700000000|1700000060|n1|None", Condition.FAILED, "its script ended badly"),
        ("7_[3-9%2]|PENDING|N/A|N/A||QOSMaxJobsPerUserLimit", Condition.PENDING,
         "Slurm has it wait: QOSMaxJobsPerUserLimit (your jobs have as much as the QOS allows at a time)"),
        ("7|A_NEW_STATE|1700000000|1700000060|n1|None", Condition.RUNNING, ""),
    ],
)  # fmt: skip
def test_every_state_of_a_job_has_its_condition_and_what_is_not_known_is_there(
    line: str, condition: Condition, reason: str
) -> None:
    seen, *_ = text.sightings(f"{line}|elsewhere.job-1-2-3|elsewhere?job=job-1&launch=job-1-2-3")
    assert (seen.condition, seen.reason) == (condition, reason)
    assert (seen.started is None) == (condition is Condition.PENDING)
    assert (seen.ended is None) == (condition in (Condition.PENDING, Condition.RUNNING))


def test_labels_survive_whatever_is_in_them_and_a_comment_that_was_changed_leaves_the_name() -> None:
    labels = {"job": "job-1", "launch": "job-1-2-3", "note": 'it\'s "here" $HOME | ä\n', "empty": ""}
    line = f"7|PENDING|N/A|N/A||None|elsewhere.job-1-2-3|{text.labelled(labels)}"
    assert text.sightings(line)[0].labels == labels
    [seen] = text.sightings("7|PENDING|N/A|N/A||None|elsewhere.job-1-2-3|set by an admin | twice")
    assert seen.labels == {"job": "job-1", "launch": "job-1-2-3"}


def test_jobs_of_others_and_half_lines_are_left_out() -> None:
    assert text.sightings("7|PENDING|N/A|N/A||None|mine|elsewhere?job=x\n8|PENDING\n\nslurm_load_jobs error: x\n") == []


def test_an_array_that_was_ended_before_it_began_is_all_its_elements() -> None:
    line = "10_[0-2,5%2]|CANCELLED|1700000000|1700000000||None|elsewhere.job-1-2-3|elsewhere?job=job-1"
    seen = text.sightings(line)
    assert [one.native for one in seen] == ["10_0", "10_1", "10_2", "10_5"]
    assert {one.condition for one in seen} == {Condition.STOPPED} and seen[0].started is None


def test_real_answers_of_squeue_are_read() -> None:
    seen = {one.native: one for one in text.sightings((ANSWERS / "squeue-22.05.txt").read_text())}
    conditions = {native: one.condition for native, one in seen.items()}
    assert set(conditions.values()) == {Condition.PENDING, Condition.RUNNING, Condition.STOPPED, Condition.FAILED}
    assert any("_" in native for native in seen)
    assert all(one.labels["job"].startswith("job-") for one in seen.values())
    for one in seen.values():
        assert one.started is None or one.started > datetime(2020, 1, 1, tzinfo=UTC)
        assert one.started is None or one.ended is None or one.started <= one.ended


def test_real_answers_of_sinfo_are_read() -> None:
    rows = text.nodes((ANSWERS / "sinfo-22.05.txt").read_text())
    assert {row.partition for row in rows} == {"main", "short", "high"}
    assert {row.longest for row in rows if row.partition == "short"} == {timedelta(minutes=2)}
    assert {row.longest for row in rows if row.partition == "main"} == {None}
    assert all(row.default == (row.partition == "main") for row in rows)
    [gpu] = [row for row in rows if row.partition == "main" and row.gpus]
    assert (gpu.cpus, gpu.memory, gpu.gpus, gpu.features) == (4, 4000 << 20, (("a100", 2),), ("fast",))


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("2:00", timedelta(minutes=2)),
        ("30", timedelta(seconds=30)),
        ("1:00:00", timedelta(hours=1)),
        ("2-00:00:00", timedelta(days=2)),
        ("1-12:30:00", timedelta(days=1, hours=12, minutes=30)),
        ("infinite", None),
        ("n/a", None),
    ],
)
def test_limits_are_read(written: str, length: timedelta | None) -> None:
    assert text.limit_of(written) == length


@pytest.mark.parametrize(
    ("written", "gpus"),
    [
        ("gpu:4", (("", 4),)),
        ("gpu:1(S:0)", (("", 1),)),
        ("gpu:a100:4(S:0-3),gpu:a40:2(S:4-5)", (("a100", 4), ("a40", 2))),
        ("gpu:nvidia_a30_2g.12gb:4(S:4-5,10-11)", (("nvidia_a30_2g.12gb", 4),)),
        ("gpu:8,shard:a100:16", (("", 8),)),
        ("nsight:no_consume:1,gpu:p100:1", (("p100", 1),)),
        ("(null)", ()),
    ],
)
def test_gres_of_many_forms_is_read(written: str, gpus: tuple[tuple[str, int], ...]) -> None:
    assert text.nodes(f"gpu|up|1:00|1|idle|8|100|{written}|(null)")[0].gpus == gpus


@pytest.mark.parametrize(
    ("state", "usable"),
    [("idle~", True), ("mixed-", True), ("allocated#", True), ("reserved", True), ("maint", True), ("planned", True),
     ("down$", False), ("draining*", False), ("drained", False), ("fail", False), ("failing", False),
     ("inval", False), ("unknown*", False)],
)  # fmt: skip
def test_a_node_is_of_use_unless_somebody_must_help_it(state: str, usable: bool) -> None:
    assert text.nodes(f"gpu|up|1:00|1|{state}|8|100|(null)|(null)")[0].usable is usable


def test_gpus_are_read_with_their_sockets_and_beside_other_things() -> None:
    line = "gpu*|up|1-00:00:00|3|mixed|128+|515000+|gpu:a100:4(S:0-1),shard:8,gpu:2|zen3,ib"
    [row] = text.nodes(line)
    assert (row.gpus, row.cpus, row.count, row.default) == ((("a100", 4), ("", 2)), 128, 3, True)
    assert text.nodes("gpu|down|1:00|1|idle|8|100|(null)|(null)")[0].usable is False
    assert text.nodes("gpu|up|1:00|1|drained*|8|100|(null)|(null)")[0].usable is False


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
         Refused),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", Refused),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Unreachable),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", Unreachable),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: "
         "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", QuotaExceeded),
        ("sbatch: error: Batch job submission failed: Access/permission denied", AccessDenied),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", Throttled),
        ("sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"", Unreachable),
        ("sbatch: error: something new", Refused),
    ],
)  # fmt: skip
def test_a_refusal_says_slurms_own_words_and_has_its_kind(said: str, kind: type[PlaceError]) -> None:
    error = refusal(said, "take the job")
    assert type(error) is kind
    assert "error:" not in error.message and error.message.split(": ", 1)[1] in said


@pytest.mark.parametrize(("name", "known", "said"), [
    ("shrt", ["short", "main", "main"], "Did you mean short? There are: short, main."),
    ("fsat", ["normal"], "There are: normal."),
    ("fsat", [], ""),
])  # fmt: skip
def test_the_nearest_is_named_if_there_is_one(name: str, known: list[str], said: str) -> None:
    assert text.nearest(name, known) == said


def test_what_sbatch_printed_is_its_job_and_nothing_else_is() -> None:
    assert text.submitted("123\n") == text.submitted("a banner\n123;cluster\n") == "123"
    for wrong in ("", "Submitted batch job", "sbatch: error"):
        with pytest.raises(ValueError, match="sbatch said"):
            text.submitted(wrong)
    assert text.natives("7", 1) == ["7"] and text.natives("7", 2) == ["7_0", "7_1"]


def test_a_size_is_asked_for_in_whole_units() -> None:
    assert request.needs(Resources(cpus=0.5, memory=(1 << 20) + 1)) == ["--cpus-per-task=1", "--mem=2M"]
    assert request.needs(Resources(cpus=2, gpus="a100:1")) == ["--cpus-per-task=2", "--gres=gpu:a100:1"]  # type: ignore[arg-type]
    assert text.minutes(timedelta(seconds=61)) == 2


def test_a_list_that_all_its_jobs_do_at_once_is_an_array_and_a_longer_one_is_shared_by_pilots() -> None:
    settings = SlurmSettings(max_jobs=20, tasks_per_job=2)
    assert [fitting.is_array(settings, tasks) for tasks in (0, 1, 40, 41)] == [False, True, True, False]
    forced = SlurmSettings(how="array")
    assert fitting.is_array(forced, 0) and fitting.is_array(forced, 100_000)
    assert not fitting.is_array(SlurmSettings(how="pilots"), 1)


@pytest.mark.parametrize(
    ("tasks", "limit", "most", "serves"),
    [(7, 1000, 7, 1), (1000, 1000, 1000, 1), (1001, 1000, 501, 2), (100_000, 1000, 1000, 100), (0, 1000, 1000, 1),
     (7, 3, 3, 3), (1, 1000, 1, 1)],
)  # fmt: skip
def test_an_array_keeps_to_its_limit_by_more_tasks_in_each_element(
    tasks: int, limit: int, most: int, serves: int
) -> None:
    whole = Shape(Offer("main", Resources()), 1, 20)
    once = fitting.as_array(whole, tasks, limit)
    assert (once.most, once.serves, once.abreast) == (most, serves, 20)
    assert fitting.as_array(once, tasks, limit) == once, "twice: the same"


def test_elements_run_a_few_at_a_time_and_one_alone_is_no_array() -> None:
    assert request.array(100, 20) == ["--array=0-99%20"] and request.array(20, 20) == ["--array=0-19"]
    assert request.array(3, 0) == ["--array=0-2"] and request.array(1, 20) == []


def test_the_limit_of_arrays_is_read() -> None:
    assert text.array_limit((ANSWERS / "config-22.05.txt").read_text()) == 1001
    assert text.array_limit("something else") == 0


def test_a_job_is_as_large_as_its_tasks_and_as_many_as_the_slots_want() -> None:
    rows = text.nodes("main*|up|infinite|2|idle|64|256000|(null)|(null)")
    settings = SlurmSettings(tasks_per_job=4, max_jobs=10)
    shape = fitting.size(rows, Resources(cpus=2, memory=1 << 30), settings)
    assert (shape.slots, shape.most, shape.offer.resources.cpus, shape.offer.resources.memory) == (4, 10, 8, 4 << 30)
    assert (fitting.size(rows, Resources(), settings, 1).slots, fitting.size(rows, Resources(), settings, 1).most) == (
        1,
        1,
    )
    assert fitting.size(rows, Resources(), settings, 9).most == 3


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("Resources", "all that it needs is in use"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes that it needs are down or reserved: `sinfo -R`"),
        ("AssocGrpCpuLimit", "all jobs of the account together have what they may"),
        ("AssocMaxJobsLimit", "your jobs have as much as the account allows at a time"),
        ("QOSMaxWallDurationPerJobLimit", "the QOS allows no job so large or so long, so it never begins"),
    ],
)
def test_why_a_job_waits_is_said_in_our_words_too(reason: str, means: str) -> None:
    assert waiting.why(reason) == f"Slurm has it wait: {reason} ({means})"


@pytest.mark.parametrize(
    ("settings", "shape", "said"),
    [
        ({"walltime": "30m"}, Resources(), ""),
        ({"walltime": "2h"}, Resources(), "2h00m is more than the account gcims allows: 1h00m"),
        ({"walltime": "90m", "qos": "long"}, Resources(), ""),  # what a QOS says, its account need not
        ({"walltime": "11m", "qos": "fast"}, Resources(), "11m00s is more than the QOS fast allows: 10m00s"),
        (
            {"walltime": "5m", "qos": "fast"},
            Resources(cpus=3),
            "3 CPUs is more than the QOS fast allows: 2 CPUs",
        ),
        ({"walltime": "5m", "qos": "fast"}, Resources(memory=5 << 30), "5GiB of memory is more than the QOS fast"),
        ({"walltime": "5m"}, Resources(cpus=3, gpus=2), "a job of 2 GPUs is more than the account gcims allows: 1 GPU"),
    ],
)
def test_what_no_job_of_an_account_or_qos_may_have_is_refused(
    settings: dict[str, str], shape: Resources, said: str
) -> None:
    mine = books.accounts("gcims|gcims|fast,long,normal|normal|||gres/gpu=1|01:00:00|||\n")
    chosen = SlurmSettings(**settings)  # type: ignore[arg-type]
    found = caps.caps("normal||\nfast|00:10:00|cpu=2,mem=4G\nlong|1-00:00:00|\n", books.in_use(mine, chosen), chosen)
    if said:
        with pytest.raises(UsageError, match=said):
            caps.check(found, chosen, shape)
    else:
        caps.check(found, chosen, shape)
