"""The story of a job and of a task, told from a real ledger's rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from elsewhere.model.states import Outcome
from elsewhere.observe.explain import Scene, of_job, of_task, reason
from observe.told import Told

Make = Callable[..., Told]
HERE = "process 12 on host"


def story(told: Told, task: str, controller: str = HERE, live: dict[str, object] | None = None) -> list[str]:
    ledger = told.ledger
    view = ledger.task(task)
    assert view is not None
    scene = Scene(ledger.spec, ledger.count(), told.now, live or {}, controller)
    body, options = ledger.body(view.n)
    return of_task(scene, view, ledger.attempts(task), ledger.waiting(task), body, options)


def test_a_task_that_succeeded_has_a_short_story(told: Make) -> None:
    job = told()
    job.take()
    job.end(1)

    lines = story(job, "t1")

    assert lines[0] == "Task t1 is number 1 of the 3 tasks of job fit."
    assert lines[1] == 'It calls m:f with {"x": 1}.'
    assert lines[2].startswith("Attempt 1 began at ")
    assert lines[2].endswith(", ran 1.5s and succeeded.")
    assert lines[3] == "It succeeded at attempt 1."
    assert lines[-1] == "What it printed: elsewhere logs fit/t1"


def test_a_task_that_failed_says_why_and_what_to_type(told: Make) -> None:
    job = told()
    job.take()
    job.fail(1)

    lines = story(job, "t1")

    assert "and failed: ValueError: no good." in lines[2]
    assert lines[3] == "It has failed: no retries were asked for (`--retries N` asks for some)."
    assert "To try it again: elsewhere retry fit --failed" in lines


def test_a_task_that_waits_says_until_when_and_what_is_left(told: Make) -> None:
    job = told(retries=3)
    job.take()
    job.fail(1)

    lines = story(job, "t1")

    due = job.ledger.waiting("t1")["due"]
    assert any(line.startswith("It is tried again in ") for line in lines)
    assert 0 < due - job.now <= 1
    assert "Retries after error: 1 spent, 2 left." in [line.replace(" of 3", "") for line in lines]


def test_a_wait_that_is_over_is_told_so(told: Make) -> None:
    job = told(retries=3)
    job.take()
    job.fail(1)
    job.now += 100

    assert any("Its wait is over" in line and "No controller" in line for line in story(job, "t1", controller=""))


def test_a_retry_that_was_asked_for_is_not_called_a_failure(told: Make) -> None:
    job = told()
    job.take()
    job.fail(1, Outcome.ASKED_AGAIN, "", "not yet", after=90)

    lines = story(job, "t1")

    assert "asked to be tried again: not yet, after 1m30s." in lines[2]
    assert any(line.startswith("It is tried again in 1m30s") for line in lines)
    assert "Retries after try that it asked for: 1 spent, 9 of 10 left." in lines


def test_attempts_that_a_killed_controller_took_along_are_told(told: Make) -> None:
    job = told()
    for _ in range(2):
        job.take()
        with job.ledger.moving():
            job.ledger.interrupt()
    job.take()
    job.end(1)

    assert (
        "Attempts 1 to 2 did not end: given back when the job was stopped, which does not count against it."
        in story(job, "t1")
    )


def test_a_running_task_tells_for_how_long(told: Make) -> None:
    job = told()
    job.take()

    lines = story(job, "t1", live={"running": [["t1", 40.0]], "at": job.now - 2})

    assert "Attempt 1 has been running for 42s." in lines


def test_a_task_in_the_queue_says_what_it_waits_for(told: Make) -> None:
    job = told()

    busy = story(job, "t3", live={"slots": 2, "busy": 2})
    nobody = story(job, "t3", controller="")

    assert "It is ready, and waits for a slot: 2 of 2 slots are busy, and 3 tasks are ready." in busy
    assert "It is ready, and waits for a controller: none runs this job just now." in nobody
    assert nobody[-1] == "To go on:        elsewhere resume fit"


def test_a_cancelled_task_says_so(told: Make) -> None:
    job = told()
    with job.ledger.moving():
        job.ledger.cancel(["t2"])

    assert "It is cancelled, and is not tried again." in story(job, "t2")


def test_output_of_a_task_cannot_draw_on_the_terminal(told: Make) -> None:
    job = told()
    job.take()
    job.fail(1, message="\x1b[2J\x1b]0;gotcha\x07")

    assert "\x1b" not in "".join(story(job, "t1"))


def test_a_task_with_retries_of_its_own_is_told_by_those(told: Make) -> None:
    job = told()
    job.take()
    job.fail(1)
    view = job.ledger.task("t1")
    assert view is not None
    scene = Scene(job.ledger.spec, job.ledger.count(), job.now, {}, HERE)

    lines = of_task(scene, view, job.ledger.attempts("t1"), {}, b"{}", b'{"retries":1}')

    assert "It has failed: it failed more often than the 1 retry it has for that." in lines


def test_the_story_of_a_job_has_its_events_terms_failures_and_next_steps(told: Make) -> None:
    job = told(retries=1, timeout=timedelta(seconds=30), max_failures=2)
    job.take()
    job.end(1)
    job.end(2)
    job.fail(3, Outcome.REJECTED, "BadInput", "never")

    scene = Scene(job.ledger.spec, job.ledger.count(), job.now)
    lines = of_job(scene, job.ledger.events(), [("t3", "BadInput: never")])

    assert lines[0] == "Job fit (job-1) has 3 tasks of m:f."
    assert (
        "Terms: a task may run 30s; be tried again 1 time after errors; the job stops after more than 2 failures."
        in lines
    )
    assert any("It was created" in line for line in lines)
    assert "Of 3 tasks: 2 succeeded, 1 failed." in lines
    assert "  t3: BadInput: never" in lines
    assert "To try again:     elsewhere retry fit --failed" in lines


def test_a_job_left_unfinished_says_how_to_go_on(told: Make) -> None:
    job = told()

    lines = of_job(Scene(job.ledger.spec, job.ledger.count(), job.now), [])

    assert "No controller runs it just now, so nothing goes on." in lines
    assert "To go on:         elsewhere resume fit" in lines


def test_a_long_story_leaves_out_its_middle(told: Make) -> None:
    job = told()
    with job.ledger.moving():
        for k in range(100):
            job.ledger.note("resumed", epoch=k)

    lines = of_job(Scene(job.ledger.spec, job.ledger.count(), job.now), job.ledger.events(), limit=20)

    assert "... (81 more)" in lines
    assert len(lines) < 35


def test_tries_that_ended_because_they_were_cancelled_are_told_by_that(told: Make) -> None:
    job = told()
    with job.ledger.moving():
        job.ledger.note("cancelled")
        job.ledger.note("refused", "1", attempt=1, outcome="CANCELLED")

    lines = of_job(Scene(job.ledger.spec, job.ledger.count(), job.now), job.ledger.events())

    assert [line[10:] for line in lines if "cancelled" in line] == ["Tasks were cancelled."]
    assert not any("left out" in line or "refused" in line or "report" in line for line in lines)


def test_many_refused_reports_are_one_line(told: Make) -> None:
    job = told()
    with job.ledger.moving():
        for k in range(100):
            job.ledger.note("refused", str(k), attempt=1)
        job.ledger.note("resumed")

    lines = of_job(Scene(job.ledger.spec, job.ledger.count(), job.now), job.ledger.events())

    assert [line[10:] for line in lines if "left out" in line] == [
        "The ends of 100 tries were left out: the task had ended already, or had been given to another slot meanwhile."
    ]


def test_reasons_in_one_line() -> None:
    assert reason({"type": "ValueError", "message": "a\nb"}) == "ValueError: a b"
    assert reason({"exit_code": 3}) == "exit status 3"
    assert reason({"signal": 11}) == "killed by SIGSEGV"
    assert reason({"type": "Exited", "message": "exit status 3", "exit_code": 3}) == "Exited: exit status 3"
    assert reason({}) == ""
