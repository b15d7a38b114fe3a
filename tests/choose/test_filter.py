"""Which types do, why the others do not, at what true price, and what would let one in."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from choose import small
from choose.small import GIB, machine
from elsewhere.choose.filter import Sieve, shape, sift
from elsewhere.choose.listing import offers
from elsewhere.choose.plan import NothingFits, plan
from elsewhere.choose.wants import PREFER, SPOT, BootDisk, Span, Wants
from elsewhere.errors import UsageError
from elsewhere.model.catalog import MachineType
from elsewhere.model.resources import Resources


def why(one: MachineType, **asked: object) -> list[str]:
    wants = Wants(**asked)  # type: ignore[arg-type]
    return [refusal.flag for refusal in Sieve(wants).refusals(one, shape(one, wants))]


@pytest.mark.parametrize(
    ("flag", "asked"),
    [
        ("--machine-cpus", {"machine_cpus": Span(16, None)}),
        ("--machine-cpus", {"machine_cpus": Span(None, 4)}),
        ("--machine-memory", {"machine_memory": Span(64 * GIB, None)}),
        ("--memory-per-cpu", {"memory_per_cpu": Span(8 * GIB, None)}),
        ("--memory-per-task", {"task": Resources(cpus=2), "memory_per_task": Span(16 * GIB, None)}),
        ("--local-disk", {"local_disk": Span(200 * GIB, None)}),
        ("--local-disk-per-cpu", {"local_disk_per_cpu": Span(20 * GIB, None)}),
        ("--local-disk-per-task", {"local_disk_per_task": Span(20 * GIB, None)}),
        ("--machine-gpus", {"machine_gpus": Span(2, None)}),
        ("--gpu-types", {"gpu_types": ("a100",)}),
        ("--architecture", {"architecture": "arm64"}),
        ("--cpu-family", {"cpu_family": ("amd*",)}),
        ("--machine-types", {"machine_types": ("c7*", "re:m[0-9]+")}),
        ("--tasks-per-machine", {"tasks_per_machine": Span(9, None)}),
        ("--cpus", {"task": Resources(cpus=9)}),
        ("--memory", {"task": Resources(memory=33 * GIB)}),
        ("--gpus", {"task": Resources(gpus=2)}),
    ],
)
def test_each_bound_refuses_under_its_own_name(flag: str, asked: dict[str, object]) -> None:
    one = machine("m1.2xlarge", 8, 32, cpu_family="xeon", local_disk=100 * GIB, gpus=1, gpu_type="T4")
    assert why(one) == []
    assert why(one, **asked) == [flag]


def test_a_type_that_fits_every_bound_exactly_does() -> None:
    one = machine("m1.2xlarge", 8, 32, cpu_family="xeon", local_disk=80 * GIB, gpus=1, gpu_type="T4")
    exact = {"machine_cpus": Span(8, 8), "machine_memory": Span(32 * GIB, 32 * GIB), "gpu_types": ("t4",),
             "memory_per_cpu": Span(4 * GIB, 4 * GIB), "local_disk_per_task": Span(10 * GIB, 10 * GIB),
             "machine_types": ("re:m1[.].*",), "cpu_family": ("x*",)}  # fmt: skip
    assert why(one, **exact) == []


def test_burstable_cpus_count_as_what_they_give_for_ever() -> None:
    burstable = machine("t.2xlarge", 8, baseline=0.4)
    assert shape(burstable, Wants()).slots == 3
    assert why(machine("t.large", 2, baseline=0.2)) == ["--cpus"]
    assert shape(machine("t.large", 2, baseline=0.2), Wants(task=Resources(cpus=0.4))).slots == 1


@pytest.mark.parametrize(
    ("task", "slots"),
    [(Resources(), 8), (Resources(cpus=3), 2), (Resources(memory=10 * GIB), 3), (Resources(gpus=1), 2)],
)
def test_what_is_scarcest_decides_how_many_tasks_fit(task: Resources, slots: int) -> None:
    assert shape(machine("g.2xlarge", 8, 32, gpus=2, gpu_type="t4"), Wants(task=task)).slots == slots


def test_the_true_price_has_disk_and_address_in_it() -> None:
    found = small.catalog([machine("a.large", 2)], [(0, 0, 0, 100_000)], disk_gb_month=73_000, address_hour=5_000)
    (one,), _ = offers(found, Wants(boot_disk=BootDisk(50 * GIB)))
    assert one.bare == Decimal("0.1")
    assert one.offer.price == Decimal("0.1") + 50 * Decimal("0.0001") + Decimal("0.005")


def test_a_disk_grows_with_its_tasks_and_local_disks_spare_it() -> None:
    wants = Wants(task=Resources(disk=30 * GIB), boot_disk=BootDisk(20 * GIB))
    assert shape(machine("a.xlarge", 4), wants).disk == 140 * GIB
    assert shape(machine("a.xlarge", 4, local_disk=120 * GIB), wants).disk == 20 * GIB
    assert BootDisk(10, 5, 2, 3).size(4, 2) == 5 + 8 + 6


def test_a_dear_machine_with_many_slots_comes_before_a_cheap_one_with_few() -> None:
    found = small.catalog([machine("a.large", 2), machine("b.8xlarge", 32)], [(0, 0, 0, 100_000), (1, 0, 0, 1_200_000)])
    listed, _ = offers(found, Wants())
    assert [one.offer.name for one in listed] == ["b.8xlarge", "a.large"]


def test_the_smallest_change_that_lets_a_type_in_is_named_with_its_price() -> None:
    types = [machine("a.4xlarge", 16), machine("b.4xlarge", 16), machine("a.8xlarge", 32)]
    found = small.catalog(types, [(0, 0, 0, 90_000), (1, 0, 0, 70_000), (2, 0, 0, 50_000)])
    with pytest.raises(NothingFits) as caught:
        plan(found, Wants(machine_cpus=Span(None, 8)), 10)
    assert caught.value.hint == "--machine-cpus up to 16 would admit 2 types from $0.07/h."
    assert caught.value.refused == {"--machine-cpus": 3}


def test_where_no_single_change_would_do_the_nearest_type_is_named() -> None:
    found = small.catalog([machine("a.large", 2)], [(0, 0, 0, 90_000)])
    with pytest.raises(NothingFits, match="1 by --architecture") as caught:
        plan(found, Wants(machine_cpus=Span(8, None), architecture="arm64"), 1)
    assert "nearest is a.large" in caught.value.hint


def test_types_that_are_not_sold_in_the_zones_asked_for_are_not_offered() -> None:
    found = small.catalog([machine("a.large", 2)], [(0, 2, 0, 90_000)])
    with pytest.raises(NothingFits) as caught:
        plan(found, Wants(zones=("east-0",)), 1)
    assert caught.value.hint.startswith("other regions or zones would admit 1 type from $0.09/h")


def test_spot_preferred_falls_back_to_on_demand_and_says_so() -> None:
    found = small.catalog([machine("a.large", 2)], [(0, 0, 0, 90_000)])
    assert plan(found, Wants(spot=PREFER), 2).note != ""
    with pytest.raises(NothingFits):
        plan(found, Wants(spot=SPOT), 2)


def test_what_comes_after_spot_is_on_demand_where_it_was_only_preferred() -> None:
    found = small.catalog([machine("a.large", 2)], [(0, 0, 0, 90_000), (0, 1, 1, 30_000), (0, 0, 1, 31_000)])
    made = plan(found, Wants(spot=PREFER), 2)
    assert [(row.offer.zone, row.offer.spot) for row in made.rows] == [("east-1", True)]
    assert [(one.offer.zone, one.offer.spot) for one in made.alternatives] == [("east-0", True), ("east-0", False)]


def test_a_price_per_task_needs_the_duration_and_refuses_what_is_dearer() -> None:
    found = small.catalog([machine("a.large", 2), machine("b.large", 2)], [(0, 0, 0, 400_000), (1, 0, 0, 200_000)])
    wants = Wants(price_per_task=Decimal("0.15"))
    with pytest.raises(UsageError, match="duration"):
        plan(found, wants, 2)
    made = plan(found, wants, 2, duration=timedelta(hours=1))
    assert [row.offer.name for row in (*made.rows, *made.alternatives)] == ["b.large"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"machine_cpus": Span(8, 4)}, "machine-cpus: the least (8) is more than the most (4)"),
        ({"machines": Span(None, 0)}, "machines: at most 0 is none at all"),
        ({"spot": "maybe"}, "spot: 'maybe'"),
        ({"machine_types": ("re:(",)}, "is not a regular expression"),
    ],
)
def test_what_contradicts_itself_is_said_before_anything_is_looked_at(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Wants(**asked).check()  # type: ignore[arg-type]
    assert said in caught.value.message


def test_all_reasons_are_told_on_demand_and_the_first_alone_is_counted() -> None:
    sifted = sift((machine("a.large", 2),), Wants(machine_cpus=Span(8, None), architecture="arm64"))
    assert sifted.counts() == {"--architecture": 1}
    assert [reason.flag for reason in sifted.all_reasons(0)] == ["--architecture", "--machine-cpus"]
