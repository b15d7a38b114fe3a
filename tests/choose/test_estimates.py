"""Time and dollars, slots that are worth having, snapshots, and the names of the seed."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from choose import small
from choose.small import GIB, machine
from elsewhere.choose import seed_names, snapshot
from elsewhere.choose.estimate import check_budget, estimate
from elsewhere.choose.plan import plan
from elsewhere.choose.policy import Remaining, wanted_slots, worth_starting
from elsewhere.choose.wants import SPOT, Span, Wants
from elsewhere.errors import ConfigError, UsageError

MINUTE = timedelta(minutes=1)


def test_the_estimate_counts_rounds_and_the_boot_and_the_floor_neither() -> None:
    made = plan(small.catalog([machine("a.large", 2)], [(0, 0, 0, 600_000)]), Wants(), 4)
    found = estimate(made, 9, 10 * MINUTE, boot=2 * MINUTE)
    assert found.time == 32 * MINUTE
    assert found.cost == Decimal("1.2") * 32 / 60
    assert found.floor == Decimal("0.3") * 90 / 60
    check_budget(found, found.floor)
    with pytest.raises(UsageError, match="below the least"):
        check_budget(found, found.floor - Decimal("0.01"))


@pytest.mark.parametrize(
    ("work", "slots"),
    [
        (Remaining(100), 100),
        (Remaining(0), 0),
        (Remaining(100, 2 * MINUTE, boot=2 * MINUTE), 100),
        (Remaining(100, timedelta(seconds=12), boot=2 * MINUTE), 10),
        (Remaining(3, timedelta(seconds=1), boot=2 * MINUTE), 1),
        (Remaining(100, 2 * MINUTE, boot=2 * MINUTE, within=22 * MINUTE), 10),
    ],
)
def test_no_slot_is_wanted_that_would_work_less_than_it_boots(work: Remaining, slots: int) -> None:
    assert wanted_slots(work) == slots
    assert wanted_slots(work, 5) == min(slots, 5)


def test_a_machine_is_not_started_for_what_the_others_finish_while_it_boots() -> None:
    work = Remaining(12, MINUTE, boot=2 * MINUTE)
    assert worth_starting(work, 2, 2)
    assert not worth_starting(work, 6, 2)
    assert not worth_starting(Remaining(12), 12, 2)


def test_a_snapshot_is_read_back_as_it_was() -> None:
    types = [machine("a.large", 2, gpus=1, gpu_type="t4")]
    found = small.catalog(types, [(0, 1, 1, 90_000)], disk_gb_month=80_000)
    assert snapshot.decode(json.loads(json.dumps(snapshot.encode(found)))) == found


@pytest.mark.parametrize(
    "change",
    [{"form": "other"}, {"version": 99}, {"kind": [7]}, {"price": []}, {"types": [{}]}, {"taken": "yesterday"},
     {"spot": ["x"]}],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(change: dict[str, object]) -> None:
    good = snapshot.encode(small.catalog([machine("a.large", 2)], [(0, 1, 1, 90_000)]))
    with pytest.raises(UsageError):
        snapshot.decode({**good, **change})


def test_the_seeds_names_mean_what_they_did_with_hyphens_or_underscores() -> None:
    given = {"max-instances": 5, "max-cpu": 8, "min-memory-per-cpu": 4, "max_total_price_per_hour": 1.0,
             "instance-types": "n2-", "use_spot": True, "total_boot_disk_size": 30, "boot-disk-per-task": 2,
             "cpus_per_task": 2, "startup_script": "x", "min_instances": None}  # fmt: skip
    found = seed_names.wants(given)
    assert (found.machines, found.machine_cpus) == (Span(None, 5), Span(None, 8))
    assert found.memory_per_cpu == Span(4 * GIB, None)
    assert found.price_per_hour == Span(None, Decimal("1.0"))
    assert (found.spot, found.task.cpus) == (SPOT, 2)
    assert (found.boot_disk.total, found.boot_disk.per_task) == (30 * GIB, 2 * GIB)


@pytest.mark.parametrize(("name", "does"), [("n2-standard-4", True), ("n2d-standard-4", False), ("c2-n2-4", False)])
def test_the_seeds_patterns_match_from_the_beginning(name: str, does: bool) -> None:
    from elsewhere.choose.filter import matcher

    assert matcher(seed_names.wants({"instance-types": ["n2-", "e2"]}).machine_types)(name) is does


def test_what_the_seed_could_ask_and_we_cannot_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        seed_names.wants({"min-cpu-rank": 3, "max-cpu": "many"})
    assert len(caught.value.faults) == 2
