"""The commands: one static table, so that help, completion and dispatch load none of them.

No imports may enter.
"""

from __future__ import annotations

GROUPS = {
    "Run": ("run", "plan", "cluster"),
    "Look": ("jobs", "status", "watch", "logs", "results", "explain", "machines", "shell", "offers"),
    "Change": ("cancel", "resume", "retry", "rm"),
    "Places": ("places", "environments", "config", "key", "queue"),
    "Clean": ("clean", "reap", "cache"),
    "Try": ("demo", "init", "sandbox", "doctor", "compat"),
}

COMMANDS = {
    "run": ("elsewhere.cli.run", "Run a task list, one command, or one command for each line of a file."),
    "plan": ("elsewhere.cli.plan", "Show the machines that a run would use, and what they cost; create nothing."),
    "cluster": ("elsewhere.cli.cluster", "Dask clusters of tagged containers: put up, look at, scale, end."),
    "jobs": ("elsewhere.cli.jobs", "List the jobs, newest first."),
    "status": ("elsewhere.cli.status", "Show how a job stands, and what to type next."),
    "watch": ("elsewhere.cli.watch", "Follow a job from this terminal until it is over."),
    "logs": ("elsewhere.cli.logs", "Show what a task, or every task of a job, has printed."),
    "results": ("elsewhere.cli.results", "Write out the results of a job, as JSON lines, JSON or CSV."),
    "explain": ("elsewhere.cli.explain", "Tell the story of a job or a task: what happened, and why it is waiting."),
    "machines": ("elsewhere.cli.machines", "List the machines of a job, and what each has cost."),
    "shell": ("elsewhere.cli.shell", "Open a terminal on the machine where a task runs."),
    "offers": ("elsewhere.cli.offers", "List what a place sells: types, zones, regions, images, and prices."),
    "cancel": ("elsewhere.cli.cancel", "Cancel a job, or some of its tasks."),
    "resume": ("elsewhere.cli.resume", "Go on with a job that was stopped, where it was."),
    "retry": ("elsewhere.cli.retry", "Run the failed tasks of a job again, and keep the rest."),
    "rm": ("elsewhere.cli.rm", "Remove a job and all its files."),
    "places": ("elsewhere.cli.places", "List the places where work may run, or check them."),
    "environments": ("elsewhere.cli.environments", "Build, list or remove the software that places keep for jobs."),
    "config": ("elsewhere.cli.config", "Show the settings in force and where each comes from, or check their files."),
    "key": ("elsewhere.cli.key", "Export, import or rotate the key that signs your jobs."),
    "queue": ("elsewhere.cli.queue", "Show what is left of a job's tasks, or give it up."),
    "clean": ("elsewhere.cli.clean", "Remove jobs that ended long ago."),
    "reap": ("elsewhere.cli.reap", "Find machines of yours that still run at a place, and stop them."),
    "cache": ("elsewhere.cli.cache", "List or remove results of calls that were kept by content."),
    "demo": ("elsewhere.cli.demo", "Run a small job here and show its results, to see how it goes."),
    "init": ("elsewhere.cli.init", "Write a first elsewhere.yaml, task list and worker into an empty directory."),
    "sandbox": ("elsewhere.cli.sandbox", "A cloud on this machine: the AWS API over real processes, to rehearse in."),
    "doctor": ("elsewhere.cli.doctor", "Check what Elsewhere needs on this machine."),
    "compat": ("elsewhere.cli.compat", "The commands of tools that Elsewhere stands in for, in their own words."),
}
