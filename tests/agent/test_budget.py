"""A machine's CPUs, memory and GPUs are handed out: never more at a time than there are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from elsewhere import machine
from elsewhere.agent import budget
from elsewhere.agent.boot import Boot
from elsewhere.agent.budget import Budget
from elsewhere.model.job import Entry
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from slot.floor import Floor, floor, value

GIB = 1 << 30
CODE = """
import os, time
def f(name, weight=1, gate=None):
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    os.write(log, f"+ {name} {weight} {gpus}\\n".encode())
    while gate and not os.path.exists(gate):
        time.sleep(0.005)
    os.write(log, f"- {name} {weight} {gpus}\\n".encode())
    return [os.getpid(), gpus]
"""


@pytest.fixture(autouse=True)
def of_four_cpus_and_eight_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_cpus", lambda: 4)
    monkeypatch.setattr(budget, "_memory", lambda: 8 * GIB)


def log(tmp_path: Path) -> list[list[str]]:
    return [line.split(" ") for line in (tmp_path / "work" / "log").read_text().splitlines()]


def most_at_once(tmp_path: Path) -> int:
    """The greatest weight that ran side by side."""
    now = most = 0
    for sign, _, weight, _ in log(tmp_path):
        now += int(weight) if sign == "+" else -int(weight)
        most = max(most, now)
    return most


def release_when(here: Floor, tmp_path: Path, running: int) -> None:
    """Let the tasks go on once so many have begun, and no more than that do for as long as they stand."""
    here.until(lambda: len(here.slots.running()) == running)
    for _ in range(20):
        here.turn(0.01)
    assert len(here.slots.running()) == running
    (tmp_path / "work" / "go").touch()


def tasks(count: int, weight: int = 1) -> list[dict[str, Any]]:
    return [{"name": f"t{k}", "weight": weight, "gate": "go"} for k in range(count)]


@pytest.mark.parametrize(
    ("own", "running"), [({"cpus": 2}, 2), ({"cpus": 3}, 1), ({"memory": 3 * GIB}, 2), ({"cpus": 0.5}, 4)]
)
@pytest.mark.parametrize("whose", ["the job's", "each task's own"])
def test_as_many_tasks_run_at_a_time_as_the_machine_has_room_for(
    tmp_path: Path, own: dict[str, Any], running: int, whose: str
) -> None:
    job: dict[str, Any] = {"resources": Resources(**own)} if whose == "the job's" else {}
    with floor(tmp_path, CODE, count=4, **job) as here:
        ns = here.put(*tasks(6), options=None if job else own)
        release_when(here, tmp_path, running)
        assert {one.outcome for one in here.finish(*ns)} == {Outcome.SUCCEEDED}
    assert most_at_once(tmp_path) == running


def test_large_and_small_tasks_share_the_cpus(tmp_path: Path) -> None:
    with floor(tmp_path, CODE, count=4) as here:
        ns = []
        for _ in range(5):
            ns += here.put(*[{"name": "small"}] * 7)
            ns += here.put({"name": "large", "weight": 3}, options={"cpus": 3})
            ns += here.put({"name": "whole", "weight": 4}, options={"cpus": 4})
        assert {one.outcome for one in here.finish(*ns)} == {Outcome.SUCCEEDED}
    assert most_at_once(tmp_path) <= 4
    assert Counter(name for sign, name, *_ in log(tmp_path) if sign == "+") == {"small": 35, "large": 5, "whole": 5}


def test_a_slot_that_was_asked_for_counts_as_a_cpu(tmp_path: Path) -> None:
    assert Budget(Boot(Entry("command"), resources=Resources(cpus=2)), 12).count == 6
    assert Budget(Boot(Entry("command"), resources=Resources(cpus=2)), 2).count == 2, "the four CPUs are there"
    assert Budget(Boot(Entry("command")), 12).count == 12


def test_when_other_jobs_take_half_of_the_slots_half_of_the_rest_is_left() -> None:
    held = Budget(Boot(Entry("command"), resources=Resources(cpus=2, memory=2 * GIB)), 4)
    assert held.count == 2
    assert held.resize(2) == 1
    assert held.fits(Resources(memory=2 * GIB), [Resources(memory=2 * GIB)])
    assert not held.fits(Resources(memory=3 * GIB), [Resources(memory=2 * GIB)])
    assert held.fits(Resources(memory=100 * GIB), []), "beside nothing there always is room"
    assert held.resize(4) == 2


def test_agents_that_share_a_machine_have_a_share_of_it_each() -> None:
    job = Boot(Entry("command"), resources=Resources(cpus=2, memory=2 * GIB))
    halves = [Budget(job, 2, share=2) for _ in range(2)]
    assert [half.count for half in halves] == [1, 1], "each has two CPUs of four"
    assert not halves[0].fits(Resources(memory=3 * GIB), [Resources(memory=2 * GIB)]), "and four GiB of eight"
    assert halves[0].fits(Resources(memory=2 * GIB), [Resources(memory=2 * GIB)])
    assert Budget(Boot(Entry("command")), 6, share=2).fits(Resources(cpus=1), [Resources(cpus=1)] * 5)


def test_what_fits_into_every_slot_at_once_is_given_as_ever() -> None:
    held = Budget(Boot(Entry("command")), 4)
    assert not held.is_large(Resources(memory=2 * GIB))
    assert held.is_large(Resources(memory=2 * GIB + 1))
    assert held.is_large(Resources(cpus=1.5))
    assert held.is_large(Resources(gpus=1))


@pytest.mark.parametrize("whose", ["the job's", "each task's own"])
def test_gpus_are_handed_out_one_task_each(tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    job: dict[str, Any] = {"resources": Resources(gpus=1)} if whose == "the job's" else {}
    with floor(tmp_path, CODE, count=4, **job) as here:
        ns = here.put(*tasks(6), options=None if job else {"gpus": 1})
        release_when(here, tmp_path, 2)
        ended = here.finish(*ns)
    held: set[str] = set()
    for sign, _, _, gpu in log(tmp_path):
        assert gpu in ("4", "7") and (gpu in held) is (sign == "-")
        held ^= {gpu}
    of_process: dict[int, set[str]] = {}
    for one in ended:
        pid, gpu = value(one)
        of_process.setdefault(pid, set()).add(gpu)
    assert all(len(gpus) == 1 for gpus in of_process.values()), "a process keeps to the GPU that it has loaded"


def test_a_task_of_two_gpus_waits_until_both_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with floor(tmp_path, CODE, count=3) as here:
        ns = here.put({"name": "one", "gate": "go"}, options={"gpus": 1})
        ns += here.put({"name": "two"}, options={"gpus": 2})
        ns += here.put({"name": "none"})
        release_when(here, tmp_path, 1)
        one, two, none = [value(ended)[1] for ended in here.finish(*ns)]
    assert (one, two, none) == ("0", "0,1", "0,1")


def test_a_need_that_this_machine_can_never_meet_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with floor(tmp_path, CODE) as here:
        ended = here.one({"name": "x"}, options={"gpus": 2})
        assert here.one({"name": "y"}).outcome is Outcome.SUCCEEDED
    assert ended.outcome is Outcome.REJECTED
    assert value(ended)["message"] == "it needs 2 GPUs, and this machine has 1"


def test_gpus_are_those_that_the_variable_names_or_the_driver_shows(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert [gpu.id for gpu in machine.usable_gpus({}, tmp_path)] == ["2", "10"]
    assert [gpu.id for gpu in machine.usable_gpus({"CUDA_VISIBLE_DEVICES": "GPU-a, 1,-1,2"}, tmp_path)] == [
        "GPU-a",
        "1",
    ]
    assert machine.usable_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == ()
    assert machine.Gpu("0", "NVIDIA A100-SXM4-40GB").is_a("a100") and not machine.Gpu("0", "Tesla T4").is_a("a100")


def test_in_a_batch_job_a_machine_is_what_the_job_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "64")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert machine.usable_memory() > 64 << 20
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert (machine.usable_cpus(), machine.usable_memory()) == (1, 64 << 20)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "96")
    assert machine.usable_memory() == 96 << 20
