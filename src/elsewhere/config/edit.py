"""Adds an entry to a settings file, whose comments, order and layout stay as their owner wrote them. Pure.

What was added is read back: a file that would then say anything else is not the one that is returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from elsewhere.errors import ConfigError


def added(text: str, section: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text with `name: entry` in that section, behind what stands there; a section that is not there is made.

    ConfigError: there is such an entry, or it cannot be put there; the hint is what to write by hand.
    """
    line = f"{_word(name)}: {flow(entry)}"
    hint = f"Write it there yourself: {section}: {{{line}}}"
    try:
        before = yaml.safe_load(text) or {}
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError("the settings file is broken YAML; `elsewhere config check` says where") from error
    if not isinstance(before, dict):
        raise ConfigError("the settings file is no mapping", hint=hint)
    there = before.get(section) or {}
    if not isinstance(there, dict) or name in there:
        raise ConfigError(f"{section} of the settings file has a {name} already", hint="Change it there.")
    new = _put(text, root, section, line)
    wanted = {**before, section: {**there, name: dict(entry)}}
    try:
        good = yaml.safe_load(new) == yaml.safe_load(yaml.safe_dump(wanted))
    except yaml.YAMLError:
        good = False
    if not good:
        raise ConfigError(f"{section}.{name} cannot be put into the settings file as it is laid out", hint=hint)
    return new


def flow(value: Any) -> str:
    """On one line, as YAML has it."""
    words = yaml.safe_dump(value, default_flow_style=True, width=1 << 30, sort_keys=False, allow_unicode=True)
    return words.removesuffix("\n").removesuffix("\n...")


def _word(name: str) -> str:
    return flow(name)


def _put(text: str, root: Any, section: str, line: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value != section:
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            return _after(text, _last(text, value), " " * value.value[0][0].start_mark.column + line, end)
        if isinstance(value, yaml.MappingNode):  # {a: b}
            at = value.end_mark.index - 1
            head = text[:at].rstrip()
            gap = "" if not value.value else " " if head.endswith(",") else ", "
            return f"{head}{gap}{line}{text[at:]}"
        return _after(text, key.end_mark.index, " " * (key.start_mark.column + 2) + line, end)
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return text  # a file of one line: what reads it back refuses it
    gap = end if text.strip() else ""
    return f"{text}{'' if not text or text.endswith(end) else end}{gap}{section}:{end}  {line}{end}"


def _last(text: str, node: Any) -> int:
    """The place behind the last character of what it says."""
    if not getattr(node, "flow_style", True) and node.value:
        last = node.value[-1]
        return _last(text, last[1] if isinstance(last, tuple) else last)
    return len(text[: node.end_mark.index].rstrip())


def _after(text: str, at: int, line: str, end: str) -> str:
    """As a line of its own, behind the one that this place is on."""
    cut = text.find("\n", at)
    if cut < 0:
        return f"{text}{end}{line}{end}"
    return f"{text[: cut + 1]}{line}{end}{text[cut + 1 :]}"
