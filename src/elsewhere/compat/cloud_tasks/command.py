"""The command `cloud_tasks`: its words are those of rms-cloud-tasks, its work is done by ours."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from elsewhere.compat.cloud_tasks import words as known
from elsewhere.compat.cloud_tasks.words import JOB, POOL, TYPES, Word

PROG = "cloud_tasks"
_HERE = "elsewhere.compat.cloud_tasks"
_NO_FLAG = ("startup_script", "db_file")


class Verb(NamedTuple):
    """A command. `groups`: of which words it has flags; `more` adds its own."""

    module: str
    help: str
    groups: tuple[str, ...]
    more: tuple[Callable[[argparse.ArgumentParser], object], ...] = ()


def _tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", "--task-file", type=Path, metavar="FILE", help="the task list: .json, .yml, ...")
    parser.add_argument("--start-task", type=_positive, default=1, metavar="N", help="begin with it; 1 is the first")
    parser.add_argument("--limit", type=_positive, metavar="N", help="take at most so many")
    parser.add_argument("--continue", dest="resume", action="store_true", help="go on with the job as it is")
    parser.add_argument("--max-concurrent-queue-operations", type=_positive, help="has no effect here")
    parser.add_argument("--db-file", help="has no effect here: a job's records are in the state directory")


def _force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not ask, and give up what is not done")


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="append events to it, a JSON object a line")


def _dry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the choice and the price; create nothing")


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--print-events", action="store_true", help="also print them, if they go to a file")
    parser.add_argument("--no-auto-complete", action="store_true", help="do not end when the job is over")
    parser.add_argument("--db-file", help="has no effect here: a job's records are in the state directory")


def _queues(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task-queue-only", action="store_true", help="that is all there is here")
    parser.add_argument("--event-queue-only", action="store_true", help="changes nothing: events are records here")


def _shown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", metavar="TEXT", help="only lines with this text")
    parser.add_argument("--sort-by", metavar="FIELDS", help="name,-price: fields, or beginnings of them; - turns round")
    parser.add_argument("--limit", type=_positive, metavar="N", help="at most so many lines")
    _detail(parser)


def _detail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detail", action="store_true", help="say more of each")


def _running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-instances", action="store_true", help="of all jobs of this account")
    parser.add_argument("--include-terminated", action="store_true", help="also those that are no more")


def _regions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", metavar="TEXT", help="only those that begin so")
    parser.add_argument("--zones", action="store_true", help="with their zones")


def _user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", action="store_true", help="has no effect here: `image` names one of yours")


def _purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--purge-queue", action="store_true", help="also cancel the tasks that are left")


VERBS: dict[str, Verb] = {
    "run": Verb("run", "Load the tasks, choose and start machines, replace those that are lost, end them all.",
                (JOB, POOL, TYPES), (_tasks, _force, _output, _dry)),
    "load_queue": Verb("queue", "Load tasks into the job's queue, or add to it; start no machine.",
                       (JOB, POOL), (_tasks, _force)),
    "show_queue": Verb("queue", "Show how many tasks stand where.", (JOB,), (_detail,)),
    "purge_queue": Verb("queue", "Cancel the tasks that have not ended.", (JOB,), (_force, _queues)),
    "delete_queue": Verb("queue", "Cancel them, and remove the job with its records.", (JOB,), (_force, _queues)),
    "status": Verb("queue", "Show the machines of the job, and its queue.", (JOB,)),
    "stop": Verb("queue", "End the machines of the job; the queue stays.", (JOB,), (_purge,)),
    "monitor_event_queue": Verb("queue", "Print the job's events as JSON lines.", (JOB,), (_output, _events)),
    "list_regions": Verb("lists", "List regions.", (), (_regions, _detail)),
    "list_images": Verb("lists", "List images.", (JOB, POOL), (_shown, _user)),
    "list_instance_types": Verb("lists", "List types that do for what is asked, with prices.",
                                (JOB, POOL, TYPES), (_shown,)),
    "list_running_instances": Verb("lists", "List the machines of a job.", (JOB,), (_shown, _running)),
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    """The exit status. SystemExit: a wrong command line (2), or its page was asked for. ElsewhereError as its verbs."""
    made = parser()
    parsed, strange = made.parse_known_args(_read(words))
    if strange:
        made.error(unknown(parsed.verb, strange))
    from elsewhere.api.worker_run import say
    from elsewhere.compat.cloud_tasks import settings

    verb = VERBS[parsed.verb]
    flags = {name: getattr(parsed, name) for name in ("provider", *known.KNOWN) if hasattr(parsed, name)}
    flags.pop("db_file", None)
    asked = settings.read(parsed.config, flags)
    for note in asked.notes:
        say(note)
    called = getattr(import_module(f"{_HERE}.{verb.module}"), parsed.verb)
    return int(called(asked, parsed))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(PROG, description="The commands of rms-cloud-tasks, done by Elsewhere.",
                                   allow_abbrev=False)  # fmt: skip
    verbs = made.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for name, verb in VERBS.items():
        usage = f"{PROG} {name} [OPTIONS]"
        one = verbs.add_parser(name, help=verb.help, description=verb.help, allow_abbrev=False, usage=usage)
        one.add_argument("--config", type=Path, metavar="FILE", help="the configuration file; flags win over it")
        one.add_argument("--provider", help="aws; by default as the file has it")
        one.add_argument("-v", "--verbose", action="count", default=0, help="has no effect: what matters is said")
        for more in verb.more:
            more(one)
        for group in verb.groups:
            added = one.add_argument_group(group)
            for word in known.WORDS:
                if word.group == group and word.name not in _NO_FLAG:
                    _flag(added, word)
    return made


def unknown(verb: str, strange: Sequence[str]) -> str:
    """What to say of words that nobody knows, each with the nearest flag of that command."""
    names = [word.flag for word in known.WORDS if word.group in VERBS[verb].groups and word.name not in _NO_FLAG]
    names += ["--config", "--provider", "--tasks", "--force", "--limit", "--continue"]
    said = []
    for word in strange:
        near = get_close_matches(word.partition("=")[0], names, 1)
        said.append(f"{word} is not understood" + (f"; did you mean {near[0]}?" if near else ""))
    return ", ".join(said)


def _flag(to: argparse._ArgumentGroup, word: Word) -> None:
    said = word.help + ("; no effect here" if word.idle and word.text is not None else "")
    if word.text is None:
        to.add_argument(word.flag, dest=word.name, default=None, action=argparse.BooleanOptionalAction, help=said)
        return
    many: dict[str, Any] = {"nargs": "+"} if word.kind in (known.NAMES, known.PATTERNS) else {}
    to.add_argument(word.flag, dest=word.name, type=word.text, default=None, metavar="VALUE", help=said, **many)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_positive.__name__ = "count of 1 or more"


def _read(words: Sequence[str]) -> list[str]:
    """Underscores in flags are hyphens, and fields to sort by may begin with one."""
    found: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if found and found[-1] == "--sort-by":
            found[-1] += f"={word}"
        else:
            found.append(name.replace("_", "-") + equals + value if name.startswith("--") else word)
    return found
