"""SHIP something of a cluster to a host that does not see our files: the text that boots it there, and leaves nothing
of it but what it has said. Pure; it holds no secret.

All of us is there already (ship/seat.py). What is of the cluster alone lies in the launch's own directory: the project,
and its papers, whose copy in the place's cache goes as soon as they are unpacked: certificates, and what our program is
told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote

from elsewhere.ship import seat
from elsewhere.ship.script import Archive, taking

CODE, PROJECT, PAPERS, SCRATCH = "code", "project", "papers", "scratch"
"""Below a launch's own directory; the project lies in the first."""
WORD = "word.json"
"""Among the papers: what our program is told. It may hold variables of the user's, which nobody else is to see."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What such texts have in common on one host. `fetch`, `cache`, `now`, `directory`: as of the place's Ground."""

    cluster: str
    fetch: str
    cache: str
    now: str
    directory: str
    we: str
    """The folder of our version there."""
    project: Archive
    path: Sequence[str] = ()
    """What is importable, as seen from the project."""


def render(visit: Visit, what: str, papers: Archive, module: str, start_by: datetime) -> str:
    """The boot text of `what`, for people: it runs this module of ours there, in the project, which reads what it is
    told (WORD, among the papers). One that starts later than `start_by` ends at once."""
    copy = f"{visit.cache}/{quote(papers.key)}"
    path = ":".join(f'"$PWD"/{quote(one)}' for one in visit.path)
    return f"""\
#!/bin/sh
# {what} of the Dask cluster {visit.cluster}, booted by Elsewhere.
umask 077
HERE=$PWD
tidy() {{ cd "$HERE" && rm -rf {PAPERS} {CODE} {SCRATCH} {copy}; }}
trap : TERM INT HUP
[ "{visit.now}" -lt {int(start_by.timestamp())} ] || {{ tidy; echo "it came too late to be of use"; exit 0; }}
{taking(visit.fetch, [papers, visit.project], "{ tidy; exit 74; }")}rm -f {copy}
chmod -R go= {PAPERS} || {{ tidy; exit 73; }}
mkdir -p {SCRATCH} {CODE}/{PROJECT} && cd {CODE}/{PROJECT} || {{ tidy; exit 73; }}
export PYTHONPATH={path}
{seat.python(visit.directory, visit.we)} -m {module} <../../{PAPERS}/{WORD}
status=$?
tidy
exit $status
"""
