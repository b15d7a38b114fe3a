"""`elsewhere cluster`: Dask clusters of tagged containers, put up, looked at, scaled and ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import coloured, paint, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from elsewhere.api.dask.records import Record

ACTIONS = ("list", "up", "status", "scale", "down")

COMMAND = Command(
    "cluster",
    about="Dask clusters whose workers have tags, each tag with software, CPUs, memory and mounts of its own.\n"
    "`up` starts one that stays until `down`; a script has its own (`elsewhere.Cluster`), which is seen here too.\n"
    "A file of containers is a mapping of tags: `model: {image: model.sif, cpus: 4, memory: 8G, workers: 2}`.",
    arguments=[
        Argument("ACTION", f"One of {', '.join(ACTIONS)}.", default="list", completes=" ".join(ACTIONS)),
        Argument("WHAT", "Of up: a file of containers. Of status and down: a cluster. Of scale: TAG=N.", many=True),
    ],
    options=[
        Option("--on", value="PLACE", help="Where its workers run.", default="local", group="Of up"),
        Option("--name", value="NAME", help="What to call it.", default="", group="Of up"),
        Option("--walltime", value="TIME", help="How long each worker may live, such as 2h.", group="Of up"),
        Option("--interface", value="NAME", help="The network interface it talks over, such as ib0.", default="",
               group="Of up"),
        Option("--scheduler", value="WHERE", help="Where its scheduler runs: here, job or login.", default="",
               choices=("here", "job", "login"), group="Of up"),
        Option("--cluster", value="NAME", help="The cluster to scale, if not the newest.", default="@last",
               group="Of scale"),
        which.JSON,
    ],
    usage=[
        "elsewhere cluster [list] [--json]",
        "elsewhere cluster up [FILE] [--on PLACE] [--name NAME] [--walltime TIME] [--interface NAME]\n"
        "                            [--scheduler WHERE]",
        "elsewhere cluster status [CLUSTER] [--json]",
        "elsewhere cluster scale TAG=N... [--cluster NAME]",
        "elsewhere cluster down [CLUSTER]",
    ],
    examples=[
        ("elsewhere cluster up containers.yaml --on hpc", "and then in Python: Cluster.attach().client()"),
        ("elsewhere cluster scale gcam=3 stitches=2", ""),
        ("elsewhere logs CLUSTER/gcam/1", "what the first worker of gcam has said"),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    acts = {"list": _list, "up": _up, "status": _status, "scale": _scale, "down": _down}
    if asked.action not in acts:
        raise UsageError(f"a cluster has no {asked.action!r}" + nearest(asked.action, ACTIONS),
                         hint="`elsewhere cluster --help` lists what it has.")  # fmt: skip
    most = {"list": 0, "up": 1, "status": 1, "down": 1}.get(asked.action)
    if most is not None and len(asked.what) > most:
        raise UsageError(f"`cluster {asked.action}` takes no {asked.what[most]!r}",
                         hint="`elsewhere cluster --help` says more.")  # fmt: skip
    acts[asked.action](asked)
    return 0


def log_of(reference: str) -> tuple[Path, Record]:
    """The output of a worker, of CLUSTER/TAG/N, and the cluster. UsageError: there is no such worker."""
    from elsewhere.api.dask import records
    from elsewhere.ship.dask_worker import log_of as path_of

    name, tag, number = reference.split("/")
    record = records.find(name)
    path = path_of(record.directory, tag.lower(), number)
    if record.seat:
        from elsewhere.api.dask import afar

        path.write_bytes(afar.log(record, tag.lower(), number)[0])
    elif record.distant and not record.ended:
        from elsewhere.api.dask import quarters

        quarters.fetch_log(record, tag.lower(), number)
    if not path.is_file():
        known = sorted(each.stem.replace("-", "/", 1) for each in path.parent.glob("*.log"))
        raise UsageError(f"the cluster {record.name} has no output of a worker {tag}/{number}",
                         hint=f"There is that of {', '.join(known)}." if known else "No worker has begun.")  # fmt: skip
    return path, record


def story(record: Record, tag: str = "", worker: str = "") -> list[str]:
    """What `elsewhere explain` tells of it. UsageError names the nearest tag, or worker, that there is."""
    from elsewhere.api.dask.attached import Attached
    from elsewhere.observe import clusters

    if not record.alive:
        return _gone(record)
    state = Attached(record.id).status()
    if tag and tag not in state["tags"]:
        raise UsageError(f"the cluster {record.name} has no tag {tag!r}" + nearest(tag, list(state["tags"])),
                         hint=f"`elsewhere cluster status {record.name}` lists them.")  # fmt: skip
    known = [one["name"] for one in state["tags"][tag]["workers"]] if tag else []
    if worker and worker not in known:
        raise UsageError(f"the cluster {record.name} has no worker {worker} now" + nearest(worker, known),
                         hint=f"What it said, if it was there: elsewhere logs {record.name}/{worker}")  # fmt: skip
    return clusters.story(state, tag, worker)


def _gone(record: Record) -> list[str]:
    if record.ended:
        return [f"The cluster {record.name} on {record.place} has ended."]
    return [f"The program of the cluster {record.name} on {record.place} is gone.",
            f"To end what it may have left there: elsewhere cluster down {record.name}"]  # fmt: skip


def _list(asked: SimpleNamespace) -> None:
    from elsewhere.api.dask import records
    from elsewhere.observe.table import table

    found = records.listing()
    if asked.json:
        say_json([records.shown(record) for record in found])
    elif not found:
        say("There is no cluster. `elsewhere cluster up` makes one.")
    else:
        rows = [(r.name, r.place, _word(r), r.address if r.alive else "", r.id) for r in found]
        head, *lines = table(("cluster", "place", "is", "scheduler", "id"), rows)
        say(paint(head, "bold", coloured()), *lines)


def _word(record: Record) -> str:
    return "up" if record.alive else "ended" if record.ended else "lost"


def _up(asked: SimpleNamespace) -> None:
    from pathlib import Path

    from elsewhere.api.dask import engine, files, versions
    from elsewhere.cli import places

    versions.here()
    file = Path(asked.what[0]).absolute() if asked.what else None
    if file is not None:
        files.read(Path(asked.what[0]))
    words = {"name": asked.name, "interface": asked.interface, "walltime": asked.walltime or None}
    record = engine.up(places.find(asked.on), asked.scheduler, file, **words)
    _show(record.id, asked)
    tell(f"`elsewhere cluster down {record.name}` ends it.")


def _status(asked: SimpleNamespace) -> None:
    from elsewhere.api.dask import records

    record = records.find(asked.what[0] if asked.what else "@last")
    if record.alive:
        _show(record.id, asked)
    elif asked.json:
        say_json(records.shown(record))
    else:
        first, *more = _gone(record)
        say(first)
        for line in more:
            tell(line)


def _scale(asked: SimpleNamespace) -> None:
    from elsewhere.api.cluster import Cluster

    wanted = {}
    for word in asked.what:
        tag, equals, number = word.partition("=")
        if not equals or not number.isdigit():
            raise UsageError(f"{word!r} is not TAG=N", hint="Write `elsewhere cluster scale gcam=3`.")
        wanted[tag] = int(number)
    if not wanted:
        raise UsageError("say how many of which: TAG=N", hint="Write `elsewhere cluster scale gcam=3`.")
    attached = Cluster.attach(asked.cluster)
    attached.scale(wanted)
    _show(attached.record.id, asked)


def _down(asked: SimpleNamespace) -> None:
    from elsewhere.api.dask import detached, records
    from elsewhere.api.dask.attached import Attached

    record = records.find(asked.what[0] if asked.what else "@last")
    if record.seat:
        from elsewhere.api.dask import afar

        afar.down(record)
        say(f"The cluster {record.name} has ended.")
        return
    if record.alive:
        Attached(record.id).down()
        say(f"The cluster {record.name} has ended." + _came_to(records.find(record.id)))
        return
    left = detached.sweep(record)
    say(f"The cluster {record.name} had ended; {left or 'nothing'} of it was left at {record.place}"
        + (", and is ended now." if left else "."))  # fmt: skip


def _came_to(record: Record) -> str:
    return f" Its machines came to {_money(record.spent)}." if record.spent else ""


def _money(dollars: float) -> str:
    from decimal import Decimal

    from elsewhere.observe.cost import money

    return money(Decimal(str(dollars)))


def _show(reference: str, asked: SimpleNamespace) -> None:
    from elsewhere.api.dask.attached import Attached

    state = Attached(reference).status()
    if asked.json:
        say_json(state)
        return
    from elsewhere.observe.table import table

    say(f"{state['name']} on {state['place']}, process {state['pid']}", f"scheduler {state['address']}",
        f"dashboard {state['dashboard'] or 'none: it wants the package bokeh'}")  # fmt: skip
    if state.get("price"):
        say(f"{_money(state['price'])} an hour for its machines now, {_money(state['spent'])} so far")
    rows = [_row(tag, found) for tag, found in state["tags"].items()]
    if rows:
        head, *lines = table(("tag", "workers", "cpus", "memory", "tasks", "software"), rows)
        say(paint(head, "bold", coloured()), *lines)
    for tag, found in state["tags"].items():
        note = found["trouble"] and f"{tag}: {found['trouble']}"
        say(*filter(None, [found["waiting"] or note or (found["note"] and f"{tag}: {found['note']}")]))
    say(*state["waiting"], *(f"without {name}: {why}" for name, why in state.get("absent", {}).items()))


def _row(tag: str, found: dict[str, Any]) -> tuple[object, ...]:
    from elsewhere.model.units import show_size

    here = sum(worker["is"] == "here" for worker in found["workers"])
    wanted = f"{here} of {found['wanted']}" + (f", {'..'.join(map(str, found['adapt']))}" if found["adapt"] else "")
    return (tag, wanted, f"{found['cpus']:g}", show_size(found["memory"]) if found["memory"] else "",
            found["tasks"], found["software"])  # fmt: skip
