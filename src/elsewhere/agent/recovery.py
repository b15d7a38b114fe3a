"""What a dead agent's slots left behind: processes to end, outcomes to record. And the mark by which they are found.

Nothing is removed here: who records the outcomes decides when their files may go.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from elsewhere.agent import processes
from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.slot import wire

OUTCOMES = {int(outcome): outcome for outcome in Outcome}
FORMS = tuple(Form)


def mark_in(directory: Path) -> str:
    """The unique id of this agent's processes, written down before the first is started, so that they can be found."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = os.urandom(16).hex()
    with (directory / "mark").open("a") as file:
        file.write(mark + "\n")
    return mark


def recover(directory: Path) -> list[Ended]:
    """What slots of a dead agent wrote, whether or not somebody has recorded it; the same again when it is asked again.

    First ends all that is left of that agent's processes, found by the mark in their environment.
    """
    try:
        marks = (directory / "mark").read_text().split()
    except FileNotFoundError:
        marks = []
    for mark in marks:
        processes.end_marked(mark)
    found: list[Ended] = []
    for path in sorted(directory.glob("*.outcomes")):
        slot = int(path.name.split(".")[0])
        for record in wire.unpack(path.read_bytes())[0]:
            found.append(_ended(slot, record, directory.name))
    return found


def _ended(slot: int, record: tuple[Any, ...], agent: str) -> Ended:
    n, attempt, outcome, form, roll, started, took, out, out_to, err, err_to, value = record
    output = None if out == out_to and err == err_to else Output(slot, roll, out, out_to, err, err_to)
    return Ended(n, attempt, OUTCOMES[outcome], started, took, FORMS[form], value, output, agent)
