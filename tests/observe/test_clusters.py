"""What is told of a Dask cluster: from what it says of itself."""

from __future__ import annotations

from typing import Any

from elsewhere.observe import clusters


def worker(name: str, word: str, reason: str = "", machine: str = "17", busy: int = 0) -> dict[str, Any]:
    return {"name": name, "machine": machine, "is": word, "reason": reason, "busy": busy}


def tag(wanted: int, *workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"wanted": wanted, "adapt": None, "trouble": "", "note": "", "waiting": "", "tasks": 0,
            "workers": list(workers), **more}  # fmt: skip


def state(*waiting: str, **tags: Any) -> dict[str, Any]:
    return {"id": "clu-1", "name": "mine", "place": "hpc", "address": "tls://n1:1", "tags": tags,
            "waiting": list(waiting), "absent": {}}  # fmt: skip


HELD = tag(2, worker("gcam/1", "here", busy=1), worker("gcam/2", "pending", "Slurm has it wait: Resources", "18"),
           tasks=3, waiting="2 tasks wait for a worker of gcam: 2 asked for, none is here yet")  # fmt: skip


def test_what_is_missing_is_told_with_what_its_place_holds_it_for() -> None:
    assert clusters.story(state(gcam=HELD, calm=tag(1, worker("calm/1", "here")))) == [
        "Cluster mine (clu-1) on hpc has its scheduler at tls://n1:1.",
        "gcam: 1 of 2 workers asked for is here; 3 tasks of it.",
        "gcam/2 waits at hpc as 18: Slurm has it wait: Resources.",
        "2 tasks wait for a worker of gcam: 2 asked for, none is here yet.",
        "calm: 1 of 1 worker asked for is here.",
        "To see them come: elsewhere cluster status mine",
    ]


def test_a_machine_that_cannot_be_used_just_now_is_told_with_why() -> None:
    told = clusters.story({**state(gcam=tag(1, worker("gcam/1", "here"))), "absent": {"node2": "it does not answer"}})
    assert told[-1] == "node2 is not part of it: it does not answer. It is tried again every minute."


def test_of_a_tag_all_workers_are_told_and_of_a_worker_only_it() -> None:
    told = clusters.story(state(gcam=HELD, calm=tag(1)), "gcam")
    assert "gcam/1 is here (17), with 1 task." in told and not any("calm" in line for line in told)
    assert clusters.story(state(gcam=HELD), "gcam", "gcam/2") == [
        "gcam/2 waits at hpc as 18: Slurm has it wait: Resources.",
        "What it said: elsewhere logs mine/gcam/2",
    ]


def test_a_tag_that_is_not_tried_any_more_says_what_asks_again() -> None:
    why = "gcam/3 ended before it arrived (its script ended badly): no module named gcam"
    told = clusters.story(state(gcam=tag(1, trouble=why, note=why)))
    assert f"{why}." in told
    assert "No more of gcam are launched until `elsewhere cluster scale gcam=N` asks again." in told


def test_what_waits_for_a_tag_that_there_is_not_and_what_says_nothing_are_told() -> None:
    strange = "1 task waits for a worker of gcma: there is no such container"
    found = tag(3, worker("a/1", "running"), worker("a/2", "pending"), worker("a/3", "pending", machine=""))
    assert clusters.story(state(strange, a=found)) == [
        "Cluster mine (clu-1) on hpc has its scheduler at tls://n1:1.",
        "a: 0 of 3 workers asked for are here.",
        "a/1 runs on hpc as 17, and has not reached the scheduler yet.",
        "a/2 waits at hpc as 17, which does not say why.",
        "a/3 is not accepted by hpc yet.",
        f"{strange}.",
        "To see them come: elsewhere cluster status mine",
    ]
    many = tag(30, *(worker(f"a/{n}", "pending") for n in range(30)))
    assert "... (10 more)" in clusters.story(state(a=many))
