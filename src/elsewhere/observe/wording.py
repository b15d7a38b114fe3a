"""How outcomes, reasons and moments are put into words. Pure; no ledger, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from elsewhere.model.place import Shape
from elsewhere.model.reports import Form
from elsewhere.model.states import Outcome
from elsewhere.observe.safe import one_line

WORDS = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.ERRORED: "failed",
    Outcome.TIMED_OUT: "ran into its timeout",
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.INTERRUPTED: "was interrupted, which does not count against it",
    Outcome.ASKED_AGAIN: "asked to be tried again",
    Outcome.CANCELLED: "was cancelled",
    Outcome.REJECTED: "said that it can never succeed",
    Outcome.COULD_NOT_BOOT: "could not begin: its machine did not start",
    Outcome.COULD_NOT_PULL: "could not begin: its image could not be had",
    Outcome.LOST: "was lost: its process was killed from outside",
}


def failure(form: Form, value: bytes) -> dict[str, Any]:
    """What a failed attempt left behind (slot/wire.py `failure`); {} if it left nothing readable."""
    if form != Form.FAILURE or not value:
        return {}
    try:
        story = json.loads(value)
    except ValueError:
        return {"message": one_line(value)}
    return story if isinstance(story, dict) else {"message": str(story)}


_OURS = frozenset(("Again", "Cancelled", "Died", "ExitStatus", "Fail", "NoSlot", "Stopped", "Trouble"))
"""Kinds of failure that are no exception of the user's: their message says it all."""


def reason(story: Mapping[str, Any], limit: int = 200) -> str:
    """`ValueError: no good`, `exit status 3`, `killed by SIGSEGV`: one line; empty if nothing is known."""
    kind, message = str(story.get("type") or ""), str(story.get("message") or "")
    text = f"{kind}: {message}" if kind and message and kind not in _OURS else message or kind
    code, number = story.get("exit_code"), story.get("signal")
    if number and str(number) not in text and signal_name(number) not in text:
        text += f" ({signal_name(number)})" if text else f"killed by {signal_name(number)}"
    elif code and str(code) not in text:
        text += f" (exit status {code})" if text else f"exit status {code}"
    return one_line(text, limit)


def spread(shapes: Sequence[Shape]) -> str:
    """How a list goes to machines of a place that has a choice there, in a few words."""
    most, abreast, serves = sum(shape.most or 1 for shape in shapes), shapes[0].abreast, shapes[0].serves
    if not serves:
        return f"{most:,} pilots share the list" if most > 1 else "one pilot does the list"
    each = "a task each" if serves == 1 else f"{serves:,} tasks each"
    return f"an array of {most:,}" + (f", {abreast:,} at a time" if 0 < abreast < most else "") + f", {each}"


def signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def when(at: float, now: float) -> str:
    """A moment as people say it: `14:02:03`, or with the date if it was not today."""
    moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    return moment.strftime("%H:%M:%S" if moment.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def plural(count: int, word: str, many: str = "") -> str:
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def several(text: str) -> list[str]:
    """A sentence that quotes a program: first the sentence, then the lines, set in; none can harm a terminal."""
    first, *quoted = [one_line(line, 400) for line in text.splitlines() if line.strip()] or [""]
    return [first, *(f"  {line}" for line in quoted)]
