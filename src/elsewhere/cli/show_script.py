"""`--show-script`: the text that the place would get, and the command that gives it; nothing is made or asked for."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from elsewhere.cli.grammar import Option
from elsewhere.cli.terminal import say, tell

if TYPE_CHECKING:
    from elsewhere.model.job import JobSpec

OPTION = Option("--show-script", group="What to run",
                help="Print exactly the text that a batch system would get, and submit nothing.")  # fmt: skip


def show(spec: JobSpec, tasks: int = 0) -> int:
    """The text on standard output, the command on standard error."""
    from elsewhere import session
    from elsewhere.controller import survey

    words, text = session.preview(survey.spread(spec, tasks), tasks)
    tell(shlex.join(words))
    say(text.rstrip("\n"))
    return 0
