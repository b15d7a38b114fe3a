"""`elsewhere init`: a first project in an empty directory, that runs as it stands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from elsewhere.cli.grammar import Argument, Command
from elsewhere.cli.terminal import say, tell
from elsewhere.errors import UsageError

COMMAND = Command(
    "init",
    about="Writes elsewhere.yaml, tasks.json and my_worker.py into a directory: a project that runs as it stands.\n"
    "Nothing that is there is overwritten.",
    arguments=[Argument("DIRECTORY", "Where; made if it is not there.", default=".", completes="files")],
)

SETTINGS = """\
# Settings of this project, found upward from the working directory. `elsewhere config show` says what is in force
# and where each value comes from; `elsewhere config check` finds mistakes.

default:
  retries: 2            # tries after the first, when a task fails
  timeout: 1m           # a task that runs longer is ended
  # slots: 4            # tasks at a time; by default one for each CPU
  # memory: 2GiB        # what one task may use
  # keep: 30d           # `elsewhere clean` removes jobs that ended longer ago

jobs:                   # `elsewhere run words` runs this one
  words:
    tasks: tasks.json
    entry: my_worker.py:process_task

# profiles:             # `elsewhere run words --profile careful`
#   careful:
#     slots: 1
#     retries: 5
"""
TASKS = """\
[
  {"task_id": "poem", "data": {"text": "Write it here, run it elsewhere"}},
  {"task_id": "short", "data": {"text": "so be it"}},
  {"task_id": "empty", "data": {"text": ""}}
]
"""
WORKER = '''\
"""One function does one task: it gets the task's `data` as keywords, and what it returns is the result."""


def process_task(text: str) -> dict:
    words = text.split()
    if not words:
        raise ValueError("there are no words in this text")     # the task fails, and this is its reason
    print("counting", len(words), "words")                      # `elsewhere logs words/poem` shows it
    return {"words": len(words), "longest": max(words, key=len)}
'''
FILES = {"elsewhere.yaml": SETTINGS, "tasks.json": TASKS, "my_worker.py": WORKER}


def main(asked: SimpleNamespace) -> int:
    directory = Path(asked.directory).expanduser()
    there = [name for name in FILES if (directory / name).exists()]
    if there:
        raise UsageError(
            f"already in {directory.resolve()}: {', '.join(there)}; nothing was written",
            hint="Name another directory: elsewhere init DIRECTORY",
        )
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="Name a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        with (directory / name).open("x", encoding="utf-8") as file:
            file.write(text)
        say(str(directory / name) if asked.directory != "." else name)
    tell("", "Try it:", *([f"  cd {directory}"] if asked.directory != "." else []),
         "  elsewhere run words",
         "One of its three tasks fails on purpose, so that you see how that looks.")  # fmt: skip
    return 0
