"""The story of a Dask cluster, of one of its tags or of one worker, in plain sentences. Pure: what the cluster says of
itself goes in (`Cluster.status()`), sentences come out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from elsewhere.observe.cost import money
from elsewhere.observe.safe import one_line
from elsewhere.observe.wording import plural

SHOWN = 20
"""Workers of a tag that are told of one by one; of more only how many there are."""


def story(state: Mapping[str, Any], tag: str = "", worker: str = "") -> list[str]:
    """What there is, what is missing and why, and what to type next. `tag`, `worker`: only of these, which it has."""
    if worker:
        found = next(one for one in state["tags"][tag]["workers"] if one["name"] == worker)
        return [_of_worker(found, state["place"]), f"What it said: elsewhere logs {state['name']}/{worker}"]
    lines = [f"Cluster {state['name']} ({state['id']}) on {state['place']} has its scheduler at {state['address']}."]
    for name, found in state["tags"].items():
        if not tag or name == tag:
            lines += _of_tag(name, found, state["place"], not tag)
    if not tag:
        if state.get("price"):
            lines.append(
                f"Its machines cost {_money(state['price'])} an hour now, and {_money(state['spent'])} so far."
            )
        lines += [] if state["tags"] else ["It has no container yet, so no worker: add_container(...) adds one."]
        lines += [f"{one_line(line, 300)}." for line in state["waiting"]]
        lines += [f"{one_line(name, 80)} is not part of it: {one_line(why, 300)}. It is tried again every minute."
                  for name, why in state.get("absent", {}).items()]  # fmt: skip
    missing = [name for name, found in state["tags"].items() if found["wanted"] > _here(found)]
    if missing and (not tag or tag in missing):
        lines.append(f"To see them come: elsewhere cluster status {state['name']}")
    return lines


def _of_tag(tag: str, found: Mapping[str, Any], place: str, brief: bool) -> list[str]:
    """`brief`: workers that are here are not told of one by one."""
    here, workers = _here(found), found["workers"]
    text = f"{tag}: {here} of {plural(found['wanted'], 'worker')} asked for {'is' if here == 1 else 'are'} here"
    if found["adapt"]:
        text += f", which follow the work, {found['adapt'][0]} to {found['adapt'][1]}"
    lines = [text + (f"; {plural(found['tasks'], 'task')} of it." if found["tasks"] else ".")]
    told = [one for one in workers if not brief or one["is"] != "here"]
    lines += [_of_worker(one, place) for one in told[:SHOWN]]
    if len(told) > SHOWN:
        lines.append(f"... ({len(told) - SHOWN:,} more)")
    why = found["waiting"] or found["trouble"] or (found["note"] if here < found["wanted"] else "")
    if why:
        lines.append(f"{one_line(why, 300)}.")
    if found["trouble"]:
        lines.append(f"No more of {tag} are launched until `elsewhere cluster scale {tag}=N` asks again.")
    return lines


def _of_worker(one: Mapping[str, Any], place: str) -> str:
    name, native = one_line(one["name"], 80), one_line(one["machine"], 60)
    why = f": {one_line(one['reason'], 200)}" if one["reason"] else ""
    match one["is"]:
        case "here":
            return f"{name} is here ({native}), with {plural(one['busy'], 'task')}."
        case "leaving":
            return f"{name} ({native}) is on its way out{why}."
        case "running":
            return f"{name} runs on {place} as {native}, and has not reached the scheduler yet{why}."
    if not native:
        return f"{name} is not accepted by {place} yet{why}."
    return f"{name} waits at {place} as {native}{why or ', which does not say why'}."


def _money(dollars: float) -> str:
    return money(Decimal(str(dollars)))


def _here(found: Mapping[str, Any]) -> int:
    return sum(one["is"] == "here" for one in found["workers"])
