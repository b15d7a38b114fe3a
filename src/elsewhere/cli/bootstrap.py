"""`elsewhere compat scalable bootstrap`: what Scalable's bootstrap script does, by `places add` and `shell`.

From an empty beginning to a prompt in the container on the cluster; run again it goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from elsewhere.cli import grammar
from elsewhere.cli.grammar import Command, Option, nearest
from elsewhere.cli.terminal import coloured, is_terminal, tell
from elsewhere.errors import UsageError

OWN = "scalable"
"""The target whose container the prompt is in, if the Dockerfile has it: there python3 is that of Scalable."""

COMMAND = Command(
    "compat scalable bootstrap",
    about="Sets up a cluster and ends in a prompt there, as Scalable's bootstrap script does: asks host and user,\n"
    "makes the work directory, builds the targets of the Dockerfile that is here, brings their containers, and opens\n"
    "a shell in the one called scalable. It is `elsewhere places add` and `elsewhere shell`; run again it goes on\n"
    "where it stopped.",
    options=[
        Option("--name", value="NAME", default="hpc", help="What the place is to be called."),
        Option("--host", value="HOST", help="The login node."),
        Option("--user", value="USER", help="Who you are there; by default as ssh has it."),
        Option("--config", value="FILE", help="A file to use in place of ~/.ssh/config."),
        Option("--work-dir", value="DIR", help="A directory there that all nodes see."),
        Option("--targets", value="A,B|none", help="Which targets of the Dockerfile to build; by default all."),
        Option("--tag", value="NAME", help="The container for the prompt; by default scalable, if there is such."),
        Option("--yes", "-y", help="Ask nothing: what has no option is as it is suggested."),
        Option("-i", value="IDENTITY", help="Not used: name the key as IdentityFile in ~/.ssh/config."),
    ],
    usage=["elsewhere compat scalable bootstrap [OPTIONS] [-- COMMAND [ARGUMENT...]]"],
    rest="COMMAND [ARGUMENT...]",
    examples=[("elsewhere compat scalable bootstrap --host login.cluster --user alice", ""),
              ("elsewhere compat scalable bootstrap -- python3 file.py", "in place of a prompt")],
)  # fmt: skip


def main(words: Sequence[str]) -> int:
    """What stands behind `elsewhere compat scalable`. Ends as the shell does; 3: the place said no."""
    if words[:1] != ["bootstrap"]:
        said = words[0] if words else ""
        raise UsageError(f"scalable has no command {said!r}" + nearest(said, ["bootstrap"]),
                         hint="Write `elsewhere compat scalable bootstrap`.")  # fmt: skip
    try:
        asked = grammar.read(COMMAND, words[1:])
    except grammar.HelpAsked:
        sys.stdout.write(grammar.page(COMMAND, coloured()))
        return 0
    if asked.i:
        raise UsageError("-i is not used: keys are ssh's own affair",
                         hint=f"Put `IdentityFile {asked.i}` under the host in ~/.ssh/config.")  # fmt: skip
    return _begin(asked)


def bare(words: Sequence[str] | None = None) -> int:
    """The bare command `scalable_bootstrap`."""
    from elsewhere.cli.dispatch import dispatch

    return dispatch(["compat", OWN, "bootstrap", *(sys.argv[1:] if words is None else words)])


def _begin(asked: SimpleNamespace) -> int:
    from elsewhere.cli import places, shell
    from elsewhere.config import load

    there = load.current()
    known = asked.name in there.places()
    add = ["add", asked.name, *(["--yes"] if asked.yes else [])]
    if not known:
        add += ["--login", _login(asked)]
    for name in ("config", "work_dir"):
        if value := getattr(asked, name):
            add += [f"--{name.replace('_', '-')}", value]
    for target in _targets(asked, there.names("environments")):
        add += ["--container", f"{target.lower()}=Dockerfile:{target}"]
    if status := places.run(add):
        return status
    there = load.current()
    tag = asked.tag or (OWN if OWN in there.names("environments") else "")
    words = [asked.name, *(["--tag", tag] if tag else []), *(["--", *asked.rest] if asked.rest else [])]
    return shell.main(grammar.read(shell.COMMAND, words))


def _login(asked: SimpleNamespace) -> str:
    host = asked.host or _prompt("hostname of the login node", asked)
    if not host:
        raise UsageError("which host is the login node?", hint="Say --host login.cluster.")
    user = (
        asked.user if asked.user is not None or asked.yes else _prompt("username there (empty: as ssh has it)", asked)
    )
    return f"{user}@{host}" if user else str(host)


def _targets(asked: SimpleNamespace, known: Sequence[str]) -> list[str]:
    """Those of the Dockerfile that are wanted, and are no environments yet."""
    from elsewhere.ship import making

    has = [one for one in making.targets(Path("Dockerfile")) if one.lower() not in known]
    if asked.targets == "none" or not has:
        return []
    typed = asked.targets
    if typed is None and not asked.yes and is_terminal(sys.stdin):
        typed = _prompt(f"containers to build and bring, of {', '.join(has)} (empty: all; or none)", asked)
    if not typed:
        return has
    wanted = [] if typed == "none" else typed.split(",")
    for one in wanted:
        if one not in has and one.lower() not in known:
            raise UsageError(f"the Dockerfile has no target {one}" + nearest(one, has))
    return [one for one in wanted if one in has]


def _prompt(text: str, asked: SimpleNamespace) -> str:
    if asked.yes or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        if text.startswith("username"):
            return ""
        raise UsageError(f"nobody can be asked here for the {text}", hint="Say --host, --user, --work-dir, --yes.")
    tell()
    sys.stderr.write(f"{text}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
