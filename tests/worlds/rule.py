"""What a rule is, and how it is taken out of the project's own code while a world is played.

Nothing in the project knows of this: what a rule consists of is replaced from outside, and put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

Without = Callable[[], contextlib.AbstractContextManager[Any]]
_ZERO = timedelta(0)


@dataclass(frozen=True)
class Rule:
    """`text` as people read it; `without` takes it out."""

    name: str
    text: str
    without: Without


RULES: dict[str, Rule] = {}


def rule(name: str, text: str) -> Callable[[Without], Without]:
    def keep(without: Without) -> Without:
        RULES[name] = Rule(name, text, without)
        return without

    return keep


patch = mock.patch.object
