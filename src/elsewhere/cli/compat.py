"""`elsewhere compat DOOR ...`: the commands of the tools whose place Elsewhere takes, in their own words."""

from __future__ import annotations

from types import SimpleNamespace

from elsewhere.cli.grammar import Argument, Command, nearest
from elsewhere.errors import UsageError

DOORS = {
    "cloud_tasks": "elsewhere.compat.cloud_tasks.command",
    "cloudrun": "elsewhere.compat.cloudrun.command",
    "scalable": "elsewhere.cli.bootstrap",
}

COMMAND = Command(
    "compat",
    about="Runs a command of another tool as that tool has it: its words and its files, done by Elsewhere.\n"
    "What comes after the tool's name is read by its own grammar: `elsewhere compat cloud_tasks run --help`.\n"
    "`pip install elsewhere-compat` gives the bare names, cloud_tasks, cloudrun and\n"
    "scalable_bootstrap.",
    arguments=[
        Argument("DOOR", "cloud_tasks: the commands of rms-cloud-tasks; cloudrun: those of CloudRun; scalable: its "
                 "bootstrap.", required=True, completes="cloud_tasks cloudrun scalable"),
        Argument("WORD", "What that tool is told.", many=True),
    ],
    usage=["elsewhere compat cloud_tasks COMMAND [OPTIONS]", "elsewhere compat cloudrun demo|getstate|wait ...",
           "elsewhere compat scalable bootstrap [OPTIONS]"],
    examples=[
        ("elsewhere compat cloud_tasks run --config myconfig.yml --tasks my_tasks.json", ""),
        ("elsewhere compat cloudrun demo config.py", ""),
    ],
)  # fmt: skip


def words_of_their_own(words: list[str]) -> bool:
    """Whether a line is for the tool that it names first, and is not read by our grammar."""
    return bool(words) and not words[0].startswith("-")


def main(asked: SimpleNamespace) -> int:
    return run([asked.door, *asked.word])


def run(words: list[str]) -> int:
    """The tool's exit status. UsageError names the nearest; errors of the tool's verbs are raised as they are."""
    from importlib import import_module

    door = words[0].replace("-", "_")
    if door not in DOORS:
        raise UsageError(f"there is no compat {words[0]}" + nearest(door, list(DOORS)),
                         hint=f"There is: {', '.join(DOORS)}.")  # fmt: skip
    return int(import_module(DOORS[door]).main(words[1:]))
