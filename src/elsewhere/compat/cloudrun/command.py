"""The commands of CloudRun: `demo`, `getstate` and `wait`."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from elsewhere import session
from elsewhere.compat.cloudrun.states import ENDED, CloudRunError
from elsewhere.compat.cloudrun.states import CloudRunJobState as State

PROG = "cloudrun"
_LOOK = 1.0


def main(words: Sequence[str]) -> int:
    """0 all jobs are done, 1 some are not. SystemExit: a wrong command line (2), or its page was asked for."""
    asked = parser().parse_args(words)
    return int(asked.verb(asked))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(PROG, description="The commands of CloudRun, done by Elsewhere.", allow_abbrev=False)
    verbs = made.add_subparsers(metavar="COMMAND", required=True)
    one = verbs.add_parser("demo", help="Run the jobs of a configuration, and wait for them.")
    one.add_argument("file", nargs="?", type=Path, default=Path("config.py"), help="with a dict `config` [config.py]")
    one.set_defaults(verb=demo)
    one = verbs.add_parser("conduct", help="Run the jobs of a configuration, and tell a remote program how they stand.")
    one.add_argument("file", type=Path, help="as of demo")
    one.add_argument("--wait", action="store_true", help="until all have ended")
    one.set_defaults(verb=conduct)
    for name, verb, said in (("getstate", getstate, "Print the state of a job."),
                             ("wait", wait, "Wait until a job is done or aborted.")):  # fmt: skip
        one = verbs.add_parser(name, help=said, description=said)
        one.add_argument("hash", metavar="SCRIPT_HASH", help="of the job, as summaries show it; or the UID alone: all")
        one.add_argument("uid", metavar="UID", nargs="?", help="of its process: the job's id or name")
        one.set_defaults(verb=verb)
    return made


def demo(asked: argparse.Namespace) -> int:
    """All stages of a configuration."""
    from elsewhere.compat.cloudrun import provider

    client = provider.get_client(configuration(asked.file))
    client.start()
    client.assign_jobs_to_instances()
    client.deploy()
    processes = client.run_jobs(wait=True)
    client.print_jobs_summary()
    return 0 if all(one.get_state() == State.DONE for one in processes) else 1


def conduct(asked: argparse.Namespace) -> int:
    """The stages, as far as they have not been done; then one line of JSON that says how all stands."""
    from elsewhere.compat.cloudrun import provider

    client = provider.get_client(configuration(asked.file))
    client.start()
    client.assign_jobs_to_instances()
    client.deploy()
    client.run_jobs(wait=asked.wait)
    sys.stdout.write(json.dumps(client.told()) + "\n")
    return 0


def configuration(path: Path) -> Any:
    """The dict `config` of a Python file, which is run. CloudRunError: there is none."""
    if not path.is_file():
        raise CloudRunError(f"there is no file {path}", hint="It is a Python file with a dict `config`.")
    found = runpy.run_path(str(path)).get("config")
    if found is None:
        raise CloudRunError(f"{path} has no `config`", hint="It is a Python file with a dict `config`.")
    return found


def getstate(asked: argparse.Namespace) -> int:
    _show(_states(asked))
    return 0


def wait(asked: argparse.Namespace) -> int:
    found = _states(asked)
    while not all(state & ENDED for state in found.values()):
        time.sleep(_LOOK)
        found = _states(asked)
    _show(found)
    return 0 if all(state == State.DONE for state in found.values()) else 1


def _show(found: dict[str, State]) -> None:
    sys.stdout.writelines(f"{task} {state.name}\n" for task, state in found.items())


def _states(asked: argparse.Namespace) -> dict[str, State]:
    from elsewhere.compat.cloudrun import runs

    files = session.find(asked.uid or asked.hash)
    if asked.uid:
        return {asked.hash: runs.state(files, asked.hash)}
    with closing(files.open()) as ledger:
        names = [view.id for view in ledger]
    return {name: runs.state(files, name) for name in names}
