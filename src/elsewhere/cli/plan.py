"""`elsewhere plan`: the words of `run`; the machines that it would ask for, and what they cost. Creates nothing."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking, paid, prices, probe, run, surroundings, wanting, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import positive
from elsewhere.cli.terminal import coloured, is_terminal, paint, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.choose.estimate import Estimate
    from elsewhere.choose.plan import Plan
    from elsewhere.choose.wants import Wants
    from elsewhere.model.place import Place
    from elsewhere.model.resources import Resources

COMMAND = Command(
    "plan",
    about="Shows what `elsewhere run` with the same words would ask a place for: the offers with the choice marked,\n"
    "machines and dollars an hour, and, with the duration of a task, time and dollars to the end. Creates nothing.\n"
    "The environment is resolved, and secrets are looked for, as `run` does. Exit status: 0, 2 nothing does, or\n"
    "the budget is too small, or the environment does not resolve, 3 the place did not tell.",
    arguments=run.COMMAND.arguments,
    options=[
        *asking.OPTIONS, *wanting.OPTIONS, probe.OPTION,
        Option("--tasks", value="N", parse=positive, group="What to run",
               help="Plan for so many tasks, without a list of them."),
        Option("--limit", value="N", parse=positive, default=10, help="Offers that are shown beside the choice."),
        prices.REFRESH, prices.FROM, which.JSON,
    ],
    rest="COMMAND...",
    usage=["elsewhere plan " + usage.removeprefix("elsewhere run ") for usage in run.COMMAND.usage]
    + ["elsewhere plan --tasks N [OPTIONS]"],
    examples=[
        ("elsewhere plan tasks.json --entry my_worker:process_task --on aws --spot --task-time 2m", ""),
        ("elsewhere plan --tasks 10000 --cpus 2 --memory 8GiB --on aws --max-price-per-hour 5", ""),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    count, asked = _work(asked)
    place = run.place(asked)
    asked.resolved = surroundings.check(asked, place)
    wants = wanting.wants(asked, place.limits)
    inventory = None if getattr(asked, "from") else session.inventory(place)
    found = prices.catalog(asked, inventory, wants)
    if found is None:
        return _free(place, wants.task, count, asked)
    duration = asked.task_time or (probe.measured(asked) if asked.probe else _asked_for(asked))
    return _show(found, wants, place, count, duration, asked)


def _work(asked: SimpleNamespace) -> tuple[int, SimpleNamespace]:
    """How many tasks there are, and what is asked with all that the settings say of it."""
    from elsewhere.cli import projects

    if asked.tasks is not None:
        if asked.probe:
            raise UsageError("--probe needs a list, of which it takes the first tasks", hint="Say --task-time instead.")
        return asked.tasks, projects.filled(asked)
    asked.detach, asked.results, asked.quiet = False, None, False
    run.refuse_mixtures(asked, asked.tasks_name)
    asked = run.settled(asked)
    if asked.each_line is not None:
        lines = sys.stdin.buffer if asked.each_line == "-" else Path(asked.each_line).expanduser().open("rb")
        with lines:
            return sum(1 for line in lines if line.strip()), asked
    if (work := getattr(asked, "work", None)) is not None and work.words and asked.each_line is None:
        return work.count, asked
    if asked.rest is not None:
        return 1, asked
    from elsewhere.config import tasks
    from elsewhere.errors import InvalidTask

    source: Any = sys.stdin.buffer if asked.tasks_name == "-" else Path(asked.tasks_name)
    try:
        return sum(1 for _ in tasks.read(source)), asked
    except InvalidTask as error:
        raise tasks.located(error, source) from None


def _asked_for(asked: SimpleNamespace) -> timedelta | None:
    """The duration of a task, from a person; None: there is none, or they do not know."""
    from elsewhere.model import units

    if asked.json or asked.yes or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return None
    while True:
        sys.stderr.write("About how long does one task take? (30s, 5m, 2h; empty: not known) ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if not answer:
            return None
        try:
            return units.duration(answer)
        except ValueError as error:
            tell(str(error))


def _free(place: Place, need: Resources, count: int, asked: SimpleNamespace) -> int:
    from elsewhere.cli import places
    from elsewhere.controller import survey
    from elsewhere.machine import default_slots
    from elsewhere.observe.explain import plural

    places.greet(place)
    shapes = survey.fleet(place, need, asked.slots or 0, count)
    slots = survey.slots_of(shapes) or asked.slots or default_slots()[0]
    how = survey.said(place.backend, shapes)
    if asked.json:
        say_json({"place": place.name, "tasks": count, "slots": slots, "price": None, **({"how": how} if how else {})})
    else:
        said = f", {how}" if how else ""
        say(f"{plural(count, 'task')}, {plural(slots, 'slot')} on {place.name}{said}, which has no prices")
        say(*filter(None, [asked.resolved]))
    return 0


def _show(
    found: Any, wants: Wants, place: Place, count: int, duration: timedelta | None, asked: SimpleNamespace
) -> int:  # fmt: skip
    from elsewhere.api import choosing

    choice = choosing.choose(found, wants, count, slots=asked.slots, duration=duration)
    made, estimate = choice.plan, choice.estimate
    if asked.json:
        say_json(_facts(made, estimate, place, count))
    else:
        _draw(made, estimate, wants, count, asked.limit)
        say(*paid.kept_price(choice, paid.keep_of(asked)), *filter(None, [asked.resolved]), "nothing was created")
        tell(*prices.refusals(list(made.refused.items()), found.unpriced))
    return 0


def _facts(made: Plan, estimate: Estimate | None, place: Place, count: int) -> dict[str, Any]:
    return {
        "place": place.name,
        "tasks": count,
        "slots": made.slots,
        "wanted": made.wanted,
        "machines": made.machines,
        "cpus": made.cpus,
        "price": float(made.price),
        "bound": float(made.bound),
        "gap": round(made.gap, 6),
        "seconds": None if estimate is None else estimate.time.total_seconds(),
        "cost": None if estimate is None else round(float(estimate.cost), 4),
        "floor": None if estimate is None else round(float(estimate.floor), 4),
        "chosen": [prices.json_row(one) for one in made.rows],
        "alternatives": [prices.json_row(one) for one in made.alternatives],
        "refused": dict(made.refused),
        "note": made.note,
    }


def _draw(made: Plan, estimate: Estimate | None, wants: Wants, count: int, limit: int) -> None:
    from elsewhere.model.units import show_duration
    from elsewhere.observe.explain import plural

    head, *lines = prices.lines([*made.rows, *made.alternatives[:limit]])
    say(paint(head, "bold", coloured()), *lines)
    if made.offers > len(lines):
        say(f"  of {plural(made.offers, 'offer')} that do")
    first, *more = prices.sums(made)
    say("", paint(first, "bold", coloured()), *more)
    if estimate is None:
        say(f"{plural(count, 'task')}; how long one takes is not known: --task-time says what all of them cost")
    else:
        say(f"{plural(count, 'task')} of {show_duration(estimate.duration)}: about {show_duration(estimate.time)} and "
            f"${estimate.cost:.2f} to the end, ${estimate.floor:.2f} at the very least")  # fmt: skip
        if wants.budget is not None and estimate.cost > wants.budget:
            say(f"that is more than the budget of ${wants.budget:.2f}, at which the job would stop")
