"""The story of a job, or of a task, in plain sentences from what the ledger holds. Pure: rows in, sentences out.

No ledger is opened and no clock is read here; what happened is told, then why it waits, then what to type next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from elsewhere.model.events import Event
from elsewhere.model.job import JobSpec
from elsewhere.model.place import Allocation
from elsewhere.model.reports import Form
from elsewhere.model.states import Outcome, TaskState
from elsewhere.model.units import show_duration, show_size
from elsewhere.observe.events import of_events
from elsewhere.observe.progress import CountsLike
from elsewhere.observe.safe import one_line
from elsewhere.observe.wording import WORDS, failure, plural, reason, signal_name, when

__all__ = [
    "Scene",
    "failure",
    "next_for_job",
    "of_attempt",
    "of_job",
    "of_task",
    "plural",
    "reason",
    "signal_name",
    "when",
]


class TaskLike(Protocol):
    @property
    def n(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> TaskState: ...
    @property
    def attempt(self) -> int: ...


class AttemptLike(Protocol):
    @property
    def attempt(self) -> int: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def started(self) -> float: ...
    @property
    def took(self) -> float: ...
    @property
    def form(self) -> Form: ...
    @property
    def value(self) -> bytes: ...


@dataclass(frozen=True)
class Scene:
    """What is true around the thing that is told of. `now` is seconds since the epoch."""

    spec: JobSpec
    counts: CountsLike
    now: float
    live: Mapping[str, Any] = field(default_factory=dict)
    """What the controller last said of its slots."""
    controller: str = ""
    """`process 12 on host` of the living controller; empty: none."""
    called: str = ""
    """The name to type for the job; empty: as the job calls itself."""
    machines: Sequence[Allocation] = ()
    kept: str = ""
    """Where the job's log lies, so that another machine can go on with it."""

    @property
    def job(self) -> str:
        return self.called or self.spec.name or self.spec.id


_BUDGETS = {
    "errors": ("error", "retries"),
    "timeouts": ("timeout", "timeouts"),
    "memory": ("want of memory", "memory"),
    "losses": ("loss", "losses"),
    "asks": ("try that it asked for", "asks"),
}


def of_attempt(attempt: AttemptLike, now: float) -> str:
    """`Attempt 2 began at 14:02:03, ran 1.2s and failed: ValueError: no good.`"""
    story = failure(attempt.form, attempt.value)
    why = reason(story)
    if attempt.started:
        text = (
            f"Attempt {attempt.attempt} began at {when(attempt.started, now)}, ran {show_duration(attempt.took)} and "
        )
    else:
        text = f"Attempt {attempt.attempt} "
    text += WORDS[attempt.outcome] + (f": {why}" if why else "")
    if attempt.outcome is Outcome.ASKED_AGAIN and story.get("after"):
        text += f", after {show_duration(float(story['after']))}"
    return text + ("" if text.endswith((".", "…")) else ".")


def of_task(
    scene: Scene,
    task: TaskLike,
    attempts: Sequence[AttemptLike],
    waiting: Mapping[str, Any] | None = None,
    body: bytes = b"",
    options: bytes | None = None,
) -> list[str]:
    """The story of one task. `waiting`: due (seconds since the epoch), tally and priority, if the ledger keeps them."""
    lines = [
        f"Task {one_line(task.id)} is number {task.n:,} of the {plural(scene.counts.total, 'task')} of job {scene.job}."
    ]
    lines.append(_what(scene.spec, body, options))
    own = _options(options).get("retries")
    if own is not None:
        scene = replace(scene, spec=replace(scene.spec, retry=replace(scene.spec.retry, retries=int(own))))
    lines += _tries(attempts, task.attempt - (not task.state.ended and task.state is TaskState.HANDED_OUT), scene.now)
    lines += _standing(scene, task, attempts, dict(waiting or {}))
    lines += _next_for_task(scene, task, bool(attempts))
    return [text for text in lines if text]


def _tries(attempts: Sequence[AttemptLike], handed_out: int, now: float) -> list[str]:
    """What became of each attempt; the numbers without a report were given back when their controller ended."""
    reports = {attempt.attempt: of_attempt(attempt, now) for attempt in attempts}
    lines, number = [], 1
    while number <= handed_out:
        last = number
        while number not in reports and last + 1 <= handed_out and last + 1 not in reports:
            last += 1
        if number in reports:
            lines.append(reports[number])
        else:
            which = f"Attempt {number}" if last == number else f"Attempts {number} to {last}"
            lines.append(f"{which} did not end: given back when the job was stopped, which does not count against it.")
        number = last + 1
    return lines


def _what(spec: JobSpec, body: bytes, options: bytes | None) -> str:
    first, *rest = _options(options).get("command") or list(spec.entry.command) or [None]
    words = [] if first is None else [first or "python", *rest]
    if words or spec.entry.kind == "command":
        import shlex

        return f"It runs `{one_line(shlex.join(map(str, words)), 300)}`." if words else ""
    name = spec.entry.name or spec.entry.target
    given = f" with {one_line(body, 300)}" if body and spec.entry.kind == "function" else ""
    return f"It calls {name}{given}."


def _options(options: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(options) if options else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _standing(scene: Scene, task: TaskLike, attempts: Sequence[AttemptLike], waiting: dict[str, Any]) -> list[str]:
    match task.state:
        case TaskState.SUCCEEDED:
            return [f"It succeeded at attempt {task.attempt}."]
        case TaskState.CANCELLED:
            return ["It is cancelled, and is not tried again."]
        case TaskState.FAILED:
            return [_why_failed(scene.spec, attempts)]
        case TaskState.HANDED_OUT:
            return [_handed_out(scene, task)]
        case TaskState.WAITING:
            return [_until(scene, waiting), *_budget_left(scene.spec, waiting.get("tally") or {})]
    return [_queued(scene, attempts)]


def _why_failed(spec: JobSpec, attempts: Sequence[AttemptLike]) -> str:
    if not attempts:
        return "It has failed."
    last = attempts[-1]
    if last.outcome is Outcome.REJECTED:
        return "It has failed, and is not tried again: it said so itself, or what it was given cannot be read."
    budget = {
        Outcome.TIMED_OUT: spec.retry.timeouts if spec.retry.timeouts is not None else spec.retry.retries,
        Outcome.OUT_OF_MEMORY: spec.retry.memory if spec.retry.memory is not None else spec.retry.retries,
        Outcome.ASKED_AGAIN: spec.retry.asks,
        Outcome.LOST: spec.retry.losses,
    }.get(last.outcome, spec.retry.retries)
    if not budget:
        return "It has failed: no retries were asked for (`--retries N` asks for some)."
    return f"It has failed: it {WORDS[last.outcome]} more often than the {_retries(budget)} it has for that."


def _retries(number: int) -> str:
    return "1 retry" if number == 1 else f"{number:,} retries"


def _handed_out(scene: Scene, task: TaskLike) -> str:
    for name, since in scene.live.get("running") or ():
        if name == task.id:
            seconds = float(since) + max(scene.now - float(scene.live.get("at") or scene.now), 0)
            return f"Attempt {task.attempt} has been running for {show_duration(seconds)}."
    if not scene.controller:
        return f"Attempt {task.attempt} was handed out when the controller ended; `resume` finds out what became of it."
    note = f" Its controller says: {one_line(str(scene.live['note']))}." if scene.live.get("note") else ""
    return f"Attempt {task.attempt} is handed out: it runs, or begins as soon as a slot is free.{note}"


def _until(scene: Scene, waiting: dict[str, Any]) -> str:
    due = waiting.get("due")
    if not due:
        return "It waits to be tried again."
    if due <= scene.now:
        return "Its wait is over: it is tried again as soon as a slot is free." + ("" if scene.controller else _NOBODY)
    return f"It is tried again in {show_duration(due - scene.now)}, at {when(due, scene.now)}."


def _budget_left(spec: JobSpec, tally: Mapping[str, Any]) -> list[str]:
    lines = []
    for cause, (word, name) in _BUDGETS.items():
        spent, limit = int(tally.get(cause) or 0), getattr(spec.retry, name)
        if not spent:
            continue
        if limit is None and cause != "asks":
            limit = spec.retry.retries
        left = "without end" if limit is None else f"{max(limit - spent, 0):,} of {limit:,} left"
        lines.append(f"Retries after {word}: {spent:,} spent, {left}.")
    return lines


_NOBODY = " No controller runs this job just now."


def _queued(scene: Scene, attempts: Sequence[AttemptLike]) -> str:
    if not scene.controller:
        return "It is ready, and waits for a controller: none runs this job just now."
    slots, busy = scene.live.get("slots") or scene.spec.slots, scene.live.get("busy")
    seen = f"{busy} of {slots} slots are busy" if busy is not None else f"the job has {plural(int(slots), 'slot')}"
    again = "ready to be tried again" if attempts else "ready"
    return (
        f"It is {again}, and waits for a slot: {seen}, and {plural(scene.counts.ready, 'task is', 'tasks are')} ready."
    )


def _next_for_task(scene: Scene, task: TaskLike, has_run: bool) -> list[str]:
    name = f"{scene.job}/{task.id}"
    lines = []
    if has_run or task.state is TaskState.HANDED_OUT:
        lines.append(f"What it printed: elsewhere logs {name}")
    if task.state is TaskState.FAILED:
        lines.append(f"To try it again: elsewhere retry {scene.job} --failed")
    elif not task.state.ended and not scene.controller:
        lines.append(f"To go on:        elsewhere resume {scene.job}")
    return lines


def of_job(
    scene: Scene, events: Sequence[Event], failures: Iterable[tuple[str, str]] = (), limit: int = 40
) -> list[str]:
    """The story of a job. `failures`: (task, reason) of the first that failed. Long stories leave out their middle."""
    spec, counts = scene.spec, scene.counts
    what = spec.entry.name or spec.entry.target or " ".join(spec.entry.command[:4]) or "one command for each task"
    lines = [f"Job {scene.job} ({spec.id}) has {plural(counts.total, 'task')} of {one_line(what)}."]
    software = f"in {spec.box.image}" if spec.box is not None else f"with {spec.python or 'this Python'}"
    lines.append(
        f"It was made on {spec.created.astimezone():%Y-%m-%d at %H:%M:%S}, to run on {spec.place} in "
        f"{plural(spec.slots, 'slot')} {software}."
    )
    lines += _terms(spec)
    if scene.kept:
        lines.append(f"It is kept at {scene.kept}: `elsewhere resume --from` goes on with it from another machine.")
    told = of_events(events, scene.now, scene.machines)
    if len(told) > limit:
        left_out = len(told) - limit
        told = [*told[: limit // 4], f"... ({left_out:,} more)", *told[-(limit - limit // 4) :]]
    lines += told
    lines.append(_tally(counts))
    shown = [f"  {one_line(task, 80)}: {why}" for task, why in failures]
    if shown:
        lines += ["The first that failed:", *shown]
    lines += _job_waits(scene)
    lines += next_for_job(scene)
    return lines


def _terms(spec: JobSpec) -> list[str]:
    terms = []
    if spec.timeout:
        terms.append(f"a task may run {show_duration(spec.timeout)}")
    if spec.resources.memory:
        terms.append(f"use {show_size(spec.resources.memory)}")
    if spec.retry.retries:
        terms.append(f"be tried again {plural(spec.retry.retries, 'time')} after errors")
    if spec.max_failures is not None:
        share = isinstance(spec.max_failures, int)
        most = plural(int(spec.max_failures), "failure") if share else f"{float(spec.max_failures):.0%} failures"
        terms.append(f"the job stops after more than {most}")
    return [f"Terms: {'; '.join(terms)}."] if terms else []


def _tally(counts: CountsLike) -> str:
    parts = [f"{counts.succeeded:,} succeeded", f"{counts.failed:,} failed"]
    if counts.cancelled:
        parts.append(f"{counts.cancelled:,} cancelled")
    open_ = counts.total - counts.ended
    if open_:
        parts.append(f"{open_:,} not ended")
    asked = f" {plural(counts.asks, 'time')} a task asked to be tried again." if counts.asks else ""
    return f"Of {plural(counts.total, 'task')}: {', '.join(parts)}.{asked}"


def _job_waits(scene: Scene) -> list[str]:
    counts = scene.counts
    if counts.ended == counts.total and counts.complete:
        return []
    if not scene.controller:
        return ["No controller runs it just now, so nothing goes on."]
    lines = [f"Its controller is {scene.controller}."]
    if counts.waiting:
        lines.append(f"{plural(counts.waiting, 'task waits', 'tasks wait')} before being tried again.")
    if scene.live.get("note"):
        lines.append(f"It says: {one_line(str(scene.live['note']))}.")
    return lines


def next_for_job(scene: Scene) -> list[str]:
    """The commands that go on from here, one a line."""
    counts, job = scene.counts, scene.job
    lines = []
    over = counts.complete and counts.ended == counts.total
    if not over:
        lines.append(
            f"To follow it:     elsewhere watch {job}"
            if scene.controller
            else f"To go on:         elsewhere resume {job}"
        )
    if counts.failed:
        lines.append(f"To see why:       elsewhere results {job} --failed")
        if over:
            lines.append(f"To try again:     elsewhere retry {job} --failed")
    if counts.succeeded:
        lines.append(f"To see results:   elsewhere results {job}")
    return lines
