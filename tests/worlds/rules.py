"""All rules of the joint, in the order in which the document has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from worlds import rules_of_agents, rules_of_the_log, rules_of_the_pool
from worlds.rule import RULES

PAIRS = (
    ("number fence", "one report a number"),
    ("report before ack", "loss interrupts"),
    ("lapsed is offered again", "loss interrupts"),
    ("ask only while remembered", "start-by in boot text"),
    ("idle ends", "stop until gone", "over is told"),
    ("strangers are stopped", "idle ends"),
    ("resume sends again", "lapsed is offered again"),
    ("number fence", "lapsed is silent"),
)
"""Where one rule covers for another."""


@contextlib.contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """These rules are not in force within."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(RULES[name].without())
        yield


PARTS = (rules_of_the_log, rules_of_agents, rules_of_the_pool)
"""Importing them is what fills RULES."""

__all__ = ["PAIRS", "PARTS", "RULES", "without"]
