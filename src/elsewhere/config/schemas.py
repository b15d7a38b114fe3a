"""JSON schemas of the settings file and of task lists, for editors: made from the same dataclasses as the messages.

`python -m elsewhere.config.schemas` writes them anew; a test holds them to be up to date.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from elsewhere.config import settings
from elsewhere.config.shape import ENDS

DIRECTORY = Path(__file__).parent / "schemas"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def write(directory: Path = DIRECTORY) -> list[Path]:
    """Write both schemas; the paths. Again: the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in (("elsewhere.json", settings_file()), ("tasks.json", task_list())):
        path = directory / name
        path.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def settings_file() -> Schema:
    """Of elsewhere.yaml. Keys may have hyphens for underscores."""
    run = _run()
    entries = {
        "profiles": run,
        "jobs": {**run, "properties": {**_keys(settings.Job), **run["properties"], **_later()}},
        "places": {"type": "object", "properties": {**_machines(), **_keys(settings.Place),
                                                   "max-machines": _keys(settings.Ceilings)["machines"],
                                                   "limits": _closed(settings.Ceilings)}},
        "environments": _closed(settings.Environment),
    }  # fmt: skip
    sections = {name: {"type": "object", "additionalProperties": entry} for name, entry in entries.items()}
    return {
        "$schema": _DRAFT,
        "title": "Settings of Elsewhere",
        "type": "object",
        "additionalProperties": False,
        "properties": {"default": run, **run["properties"], **sections},
    }


def task_list() -> Schema:
    """Of a task list as JSON or YAML; each line of a JSON-lines file is one of its items."""
    retries = _keys(settings.Retries)["retries"]
    task = {
        "type": "object",
        "additionalProperties": False,
        "required": ["task_id"],
        "anyOf": [{"required": ["data"]}, {"required": ["command"]}],
        "properties": {
            "task_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Its own, in the whole list.",
            },
            "data": {"type": "object", "description": "What the function is called with."},
            "command": {**_keys(settings.Job)["command"], "description": "What it runs, if not a function."},
            "timeout": _keys(settings.Run)["timeout"],
            "retries": retries,
            "resources": _closed(settings.Needs),
            "env": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Variables."},
            "priority": {"type": "integer", "description": "Higher goes first, within the job."},
        },
    }
    return {"$schema": _DRAFT, "title": "Tasks of Elsewhere", "type": "array", "items": task}


def _run() -> Schema:
    special = {
        "resources": _closed(settings.Needs),
        "retries": {"anyOf": [{"type": "integer", "minimum": 0}, _closed(settings.Retries)]},
    }
    keys = {**_machines(), **_keys(settings.Run), **_keys(settings.Needs)}
    keys.update({name: keys[other] for name, other in settings.OTHERS.items()})
    for name, schema in special.items():
        keys[name] = {**schema, "description": keys[name]["description"]}
    hyphened = {name.replace("_", "-"): schema for name, schema in keys.items()}
    return {"type": "object", "additionalProperties": False, "properties": {**keys, **hyphened}}


def _machines() -> Schema:
    """The keys that ask something of machines, with ends of spans and other names."""
    own = _keys(settings.Machines)
    ends = {name: {**kind.schema, "description": f"The {side} of {key}."} for name, (key, side, kind) in ENDS.items()}
    keys = {**own, **{name: own[key] for name, key in settings.SAME.items()}, **ends}
    return {**keys, **{name.replace("_", "-"): schema for name, schema in keys.items()}}


def _later() -> dict[str, Schema]:
    return {name: {} for name in (*settings.LATER, "each-line")}


def _closed(kind: type) -> Schema:
    keys = _keys(kind)
    hyphened = {name.replace("_", "-"): schema for name, schema in keys.items()}
    return {"type": "object", "additionalProperties": False, "properties": {**keys, **hyphened}}


def _keys(kind: type) -> dict[str, Schema]:
    return {
        found.name: {**found.metadata["kind"].schema, "description": found.metadata["about"]} for found in fields(kind)
    }


if __name__ == "__main__":
    write()
