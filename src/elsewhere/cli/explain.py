"""`elsewhere explain`: the story of a job or of a task, in plain sentences from the ledger."""

from __future__ import annotations

import time
from types import SimpleNamespace

from elsewhere.cli import which
from elsewhere.cli.grammar import Command
from elsewhere.cli.status import at, first_failures, live_if
from elsewhere.cli.terminal import say, say_json

COMMAND = Command(
    "explain",
    about="Tells what happened to a job, or to one task: each attempt and how it ended, why it is waiting and until\n"
    "when, which retries are left, and what to type next. Of a Dask cluster: which workers are missing, and why.",
    arguments=[which.JOB, which.TASK],
    options=[which.JSON],
    usage=["elsewhere explain [JOB]", "elsewhere explain JOB/TASK", "elsewhere explain CLUSTER[/TAG[/N]]"],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.ledger.allocations import allocations
    from elsewhere.observe import explain

    if not asked.task and which.is_cluster(asked.job):
        return _of_cluster(asked)
    files, tasks = which.job_and_tasks(asked.job, [asked.task] if asked.task else [])
    with which.opened(files) as ledger:
        holder = session.holder(files)
        scene = explain.Scene(
            ledger.spec,
            ledger.count(),
            time.time(),
            live_if(files, ledger, holder),
            at(holder),
            which.called(files, ledger),
            () if tasks else allocations(ledger),
            str(ledger.get("kept", "")),
        )
        if not tasks:
            lines = explain.of_job(scene, ledger.events(), first_failures(ledger, 5))
        else:
            view = ledger.task(tasks[0])
            if view is None:
                raise which.unknown_task(ledger, tasks[0])
            body, options = ledger.body(view.n)
            story = ledger.waiting(view.id)
            lines = explain.of_task(scene, view, ledger.attempts(view.id), story, body, options)
    if asked.json:
        say_json({"job": files.id, "task": tasks[0] if tasks else None, "story": lines})
    else:
        say(*lines)
    return 0


def _of_cluster(asked: SimpleNamespace) -> int:
    """CLUSTER, CLUSTER/TAG or CLUSTER/TAG/N, from what it says of itself just now."""
    from elsewhere.api.dask import records
    from elsewhere.cli import cluster

    name, _, part = asked.job.partition("/")
    tag, _, number = part.lower().partition("/")
    record = records.find(name)
    lines = cluster.story(record, tag, f"{tag}/{number}" if number else "")
    if asked.json:
        say_json({"cluster": record.id, "tag": tag or None, "worker": number or None, "story": lines})
    else:
        say(*lines)
    return 0
