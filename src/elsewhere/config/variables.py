"""ELSEWHERE_* as settings: ELSEWHERE_SLOTS=4 says what `slots: 4` says. Every plain key of a run has one. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from elsewhere.config import kinds
from elsewhere.config.kinds import Kind
from elsewhere.config.shape import NEEDS, RETRIES, RUN, Leaf, Tree

PREFIX = "ELSEWHERE_"
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def known() -> dict[str, Kind]:
    """The settings that a variable can set, and their kinds."""
    plain = {key: kind for key, kind in RUN.items() if not kind.mapping}
    return {**plain, **NEEDS, "retries": RETRIES["retries"]}


def tree(given: Mapping[str, str], faults: list[str]) -> Tree:
    """What the variables set. An empty one sets nothing; one that is nearly the name of a setting is a fault."""
    found: Tree = {}
    kinds_of = known()
    for variable, text in sorted(given.items()):
        key = variable.removeprefix(PREFIX).lower()
        if key not in kinds_of:
            near = difflib.get_close_matches(key, kinds_of, 1, 0.8)
            if near:
                faults.append(f"{variable}: no setting has this name; did you mean {PREFIX}{near[0].upper()}?")
            continue
        if not text:
            continue
        try:
            leaf = Leaf(kinds_of[key].read(_meant(kinds_of[key], text)), variable)
        except ValueError as error:
            faults.append(f"{variable}: {error}")
            continue
        if key == "recycle":
            found[leaf.value[0]] = Leaf(leaf.value[1], variable)
        elif key in NEEDS or key == "retries":
            found.setdefault("resources" if key in NEEDS else "retries", {})[key] = leaf
        else:
            found[key] = leaf
    return found


def _meant(kind: Kind, text: str) -> Any:
    """A variable is text; what a file would have there is told by the kind."""
    if kind is kinds.FLAG:
        return _WORDS.get(text.lower(), text)
    if kind is kinds.TEXT or not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)
