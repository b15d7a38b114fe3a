"""The keys of CloudRun's `config`: one table, from which it is checked. All faults are told at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.config import kinds
from elsewhere.config.faults import article, nearest
from elsewhere.config.kinds import Kind

Config = dict[str, Any]
DISK_TYPES = ("gp3", "gp2", "io2", "io1", "standard")


class Word(NamedTuple):
    """A key: what it may be, and what it is if it is None or not there. `idle`: why it has no effect here."""

    kind: Kind
    default: Any = None
    idle: str = ""


def _one_of(*words: str, instead: Mapping[str, str] | None = None) -> Kind:
    """Of these; `instead`: what to do in place of others that are known."""

    def read(value: Any) -> Any:
        if value in (instead or {}):
            raise ValueError((instead or {})[value])
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {article(value)}")
        return value

    return Kind("one of " + ", ".join(words), read, {})


def _life(value: Any) -> timedelta:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ValueError(f"must be a datetime.timedelta above 0, not {article(value)}")
    return value


def _packages(value: Any) -> str | tuple[str, ...]:
    """A list of them; or a path: a file of them, or an environment."""
    if isinstance(value, str) and value.strip():
        return value
    return _list(value)


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and word for word in value):
        raise ValueError(f"must be a list of strings, not {article(value)}")
    return tuple(value)


def _files(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else _list(value)


def _disk(value: Any) -> str:
    if value not in DISK_TYPES:
        raise ValueError(f"must be a disk that a machine boots from: {', '.join(DISK_TYPES)}; not {article(value)}")
    return str(value)


def _script(value: Any) -> str:
    try:
        first = shlex.split(kinds.TEXT.read(value))[:1]
    except ValueError as error:
        raise ValueError(f"must be a script and its words: {error}") from None
    if not first or first[0].lower().rpartition(".")[2] not in ("py", "jl", "r", "sh"):
        raise ValueError(f"must begin with a script that ends in .py, .jl, .R or .sh, not {article(value)}; "
                         "run_command takes any command")  # fmt: skip
    return str(value)


LIFE = Kind("a timedelta", _life, {})
PACKAGES = Kind("a list, or a path", _packages, {})
LIST = Kind("a list of strings", _list, {})
FILES = Kind("a file, or a list of them", _files, {})
_AWAY = {
    "lambda": "lambda cannot hold a run of more than 15 minutes: write 'remote', a small machine that does",
}  # fmt: skip
_OTHERS = {name: f"{name} cannot be had yet: write 'aws'" for name in ("azure", "gcp")}

GLOBALS = {
    "project": Word(kinds.TEXT),
    "dev": Word(kinds.FLAG, False),
    "debug": Word(kinds.choice(0, 1, 2, 3), 1),
    "maestro": Word(_one_of("local", "remote", instead=_AWAY), "local"),
    "provider": Word(_one_of("aws", instead=_OTHERS), "aws"),
    "job_assign": Word(_one_of("random", "multi_knapsack"), "multi_knapsack"),
    "recover": Word(kinds.FLAG, True),
    "print_deploy": Word(kinds.FLAG, False),
}
INSTANCE = {
    "region": Word(kinds.TEXT),
    "cloud_id": Word(kinds.TEXT),
    "img_id": Word(kinds.TEXT),
    "img_username": Word(kinds.TEXT, None, "nobody logs in to a machine; its agent runs as root"),
    "type": Word(kinds.TEXT),
    "cpus": Word(kinds.POSITIVE),
    "gpu": Word(kinds.TEXT),
    "disk_size": Word(kinds.POSITIVE),
    "disk_type": Word(Kind("a type of disk", _disk, {})),
    "eco": Word(kinds.FLAG, False),
    "eco_life": Word(LIFE),
    "max_bid": Word(kinds.MONEY),
    "number": Word(kinds.POSITIVE, 1),
    "explode": Word(kinds.FLAG, False),
}
ENVIRONMENT = {
    "name": Word(kinds.TEXT),
    "env_aptget": Word(LIST),
    "env_conda": Word(PACKAGES),
    "env_pypi": Word(PACKAGES),
}
JOB = {
    "env_name": Word(kinds.TEXT),
    "cpus_req": Word(kinds.POSITIVE),
    "run_script": Word(Kind("a script", _script, {})),
    "run_command": Word(kinds.TEXT),
    "upload_files": Word(FILES, ()),
    "input_file": Word(kinds.TEXT),
    "output_file": Word(kinds.TEXT),
}
SECTIONS = {"instances": INSTANCE, "environments": ENVIRONMENT, "jobs": JOB}


def read(config: Any) -> Config:
    """The same with every key, checked. CloudRunError: all that is wrong with it."""
    if not isinstance(config, Mapping):
        raise CloudRunError(f"config must be a dict, not {article(config)}")
    faults: list[str] = []
    top = {key: value for key, value in config.items() if key not in SECTIONS}
    found = _entry(top, GLOBALS, "", (*GLOBALS, *SECTIONS), faults)
    for name, words in SECTIONS.items():
        given = config.get(name) or []
        if not isinstance(given, list | tuple) or not all(isinstance(one, Mapping) for one in given):
            faults.append(f"{name} must be a list of dicts, not {article(given)}")
            given = []
        found[name] = [_entry(one, words, f"{name}[{k}].", tuple(words), faults) for k, one in enumerate(given)]
    if found["maestro"] == "remote" and found["dev"]:
        faults.append("maestro is remote, and in dev a machine stays that this program finds again: write 'local'")
    faults += list(_crossed(found))
    if faults:
        raise CloudRunError("; ".join(faults), hint="Nothing was started.")
    return found


def notes(config: Config) -> list[str]:
    """What was asked for and has no effect here, a line each."""
    found = {f"{key} has no effect here: {word.idle}": None
             for name, words in SECTIONS.items() for one in config[name] for key, word in words.items()
             if word.idle and one[key] is not None}  # fmt: skip
    return list(found)


def _entry(
    given: Mapping[Any, Any], words: Mapping[str, Word], where: str, known: tuple[str, ...], faults: list[str]
) -> Config:
    found = {key: word.default for key, word in words.items()}
    for key, value in given.items():
        if key not in words:
            faults.append(f"unknown key {where}{key}{nearest(str(key), known)}")
        elif value is not None:
            try:
                found[key] = words[key].kind.read(value)
            except ValueError as error:
                faults.append(f"{where}{key} {_said(error)}")
    return found


def _said(error: ValueError) -> str:
    text = str(error)
    return text if text.startswith("must") else f"is wrong: {text}"


def _crossed(config: Config) -> Iterator[str]:
    for name in ("instances", "jobs"):
        if not config[name]:
            yield f"{name} is empty: write at least one"
    for k, one in enumerate(config["instances"]):
        if one["type"] is None:
            yield f"instances[{k}].type is missing: such as 't2.micro'"
        if one["eco_life"] is not None and not one["eco"]:
            yield f"instances[{k}].eco_life is of machines with eco: True"
        if one["max_bid"] is not None and not one["eco"]:
            yield f"instances[{k}].max_bid is a bid for machines with eco: True"
    names = [one["name"] for one in config["environments"]]
    for k, name in enumerate(names):
        if name is None and len(names) > 1:
            yield f"environments[{k}].name is missing: there are several"
        if name is not None and name in names[:k]:
            yield f"environments[{k}].name: two are called {name!r}"
    yield from _jobs(config, [name for name in names if name is not None])


def _jobs(config: Config, names: list[str]) -> Iterator[str]:
    for k, one in enumerate(config["jobs"]):
        if one["run_script"] is None and one["run_command"] is None:
            yield f"jobs[{k}] has neither run_script nor run_command"
        name = one["env_name"]
        if name is None and len(config["environments"]) > 1:
            yield f"jobs[{k}].env_name is missing: there are several environments"
        if name is not None and name not in names:
            yield f"jobs[{k}].env_name: there is no environment {name!r}{nearest(name, names)}"
