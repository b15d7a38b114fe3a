"""`elsewhere sandbox`: a cloud on this machine, to rehearse in for nothing."""

from __future__ import annotations

import shlex
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.read import count, duration, whole
from elsewhere.cli.terminal import say, say_json, tell
from elsewhere.errors import MissingExtra, StateError, UsageError

if TYPE_CHECKING:
    from elsewhere.sandbox.state import Found

ON_MACHINES = ("preempt", "kill", "freeze", "thaw", "partition", "heal")
ON_RIGHTS = ("deny", "allow", "expire", "renew")
ORDERS = (*ON_MACHINES, "stock", "quota", "price", "fault", *ON_RIGHTS)
ACTIONS = ("up", "env", "status", "machines", "bill", *ORDERS, "down")


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ValueError(f"{text!r} is not a number of 0 or more")
    return number


COMMAND = Command(
    "sandbox",
    about="A cloud of real processes on this machine, behind the real AWS API, on loopback alone: machines boot\n"
    "in a second, can be taken back, killed, frozen or cut off, and have a price, a stock, a quota and a bill.\n"
    "A machine is a directory and ordinary processes of yours, with your rights. Nothing survives `down`.",
    arguments=[
        Argument("ACTION", f"One of {', '.join(ACTIONS)}.", default="status", completes=" ".join(ACTIONS)),
        Argument("WHAT", "Machines (the beginning of an id), or NAME=VALUE.", many=True),
    ],
    options=[
        Option("--detach", "-d", help="Serve in the background.", group="Of up"),
        Option("--speed", value="N", parse=_number, help="Seconds of its clock to each of ours.",
               default=1.0, group="Of up"),
        Option("--seed", value="N", parse=whole, help="What its prices and delays are drawn from.", default=0,
               group="Of up"),
        Option("--region", value="REGION", help="The region that `env` names; all are served.", default="us-east-1",
               group="Of up"),
        Option("--lag", value="SECONDS", parse=_number, help="How far answers may lag behind what happened, at most.",
               default=5.0, group="Of up"),
        Option("--isolation", value="HOW", choices=("none", "netns", "auto"), default="none", group="Of up",
               help="netns: each machine in a network namespace of its own, with its own address and 169.254.169.254 "
               "(needs root); auto: so where it can be."),
        Option("--notice", value="TIME", parse=duration, help="Between notice and end (preempt): 2m unless said.",
               group="Of orders"),
        Option("--times", value="N", parse=count, help="How many requests a fault hits: 1, or all with --for.",
               group="Of orders"),
        Option("--for", value="TIME", parse=duration, help="How long a fault lasts.", group="Of orders"),
        Option("--code", value="CODE", help="The error of `fault ACTION=refuse`.", default="", group="Of orders"),
        which.JSON,
    ],
    usage=[
        "elsewhere sandbox up [--detach] [--speed N] [--seed N] [--region REGION] [--lag SECONDS]\n"
        "                     [--isolation none|netns|auto]",
        "elsewhere sandbox env | status | machines | bill | down [--json]",
        "elsewhere sandbox preempt ID... [--notice TIME]",
        "elsewhere sandbox kill | freeze | thaw | partition | heal ID...",
        "elsewhere sandbox stock TYPE[@ZONE]=N | quota NAME=VCPUS | price TYPE[@ZONE]=DOLLARS",
        "elsewhere sandbox fault ACTION=refuse|throttle|error|error-after|lose|lose-after|hang|hang-after\n"
        "                        [--times N] [--for TIME]",
        "elsewhere sandbox deny | allow SERVICE:ACTION...",
        "elsewhere sandbox expire | renew",
    ],
    examples=[
        ('elsewhere sandbox up --detach && eval "$(elsewhere sandbox env)"', "begin, and point this shell at it"),
        ("elsewhere sandbox preempt i-0c5 --notice 30s", "take a spot machine back"),
        ("elsewhere sandbox deny ec2:RunInstances", "your key may not do this any more"),
        ("elsewhere sandbox fault RunInstances=lose-after", "the next one starts machines and is never answered"),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    if asked.action not in ACTIONS:
        raise UsageError(f"the sandbox has no {asked.action!r}" + nearest(asked.action, ACTIONS),
                         hint="`elsewhere sandbox --help` lists what it has.")  # fmt: skip
    if (asked.action not in ORDERS or asked.action in ("expire", "renew")) and asked.what:
        raise UsageError(
            f"`sandbox {asked.action}` takes no {asked.what[0]!r}", hint="`elsewhere sandbox --help` says more."
        )
    act = {"up": _up, "env": _env, "status": _status, "machines": _machines, "bill": _bill, "down": _down,
           "stock": _set, "quota": _set, "price": _set, "fault": _fault,
           **dict.fromkeys(ON_RIGHTS, _rights)}.get(asked.action, _order)  # fmt: skip
    return act(asked)


def _found() -> Found:
    from elsewhere.sandbox import state

    found = state.find(state.directory())
    if found is None:
        raise StateError("no sandbox is up", hint="`elsewhere sandbox up --detach` starts one.")
    return found


def _ask(verb: str, **words: Any) -> dict[str, Any]:
    from elsewhere.sandbox import control

    return control.ask(_found(), verb, **words)


def _up(asked: SimpleNamespace) -> int:
    from importlib.util import find_spec
    from shutil import which

    if find_spec("moto") is None or find_spec("botocore") is None:
        raise MissingExtra("the sandbox is not installed", hint="pip install 'elsewhere[aws,sandbox]'")
    if which("curl") is None:
        raise MissingExtra("curl is not installed here, by which machines fetch what they run",
                           hint="install it: apt install curl")  # fmt: skip
    from elsewhere.sandbox import catalog

    if asked.region not in catalog.regions():
        raise UsageError(f"there is no region {asked.region}" + nearest(asked.region, catalog.regions()),
                         hint="Such as us-east-1, us-west-2 or eu-central-1.")  # fmt: skip
    if asked.speed <= 0:
        raise UsageError("--speed: the clock must go forward", hint="Such as --speed 60.")
    return _detached(asked) if asked.detach else _serve(asked)


def _serve(asked: SimpleNamespace) -> int:
    from elsewhere.sandbox.cloud import Settings
    from elsewhere.sandbox.serve import serve

    settings = Settings(asked.speed, asked.seed, asked.region, asked.lag, isolation=asked.isolation)
    serve(settings, lambda found: _say_up(asked, found))
    return 0


def _say_up(asked: SimpleNamespace, found: Found) -> None:
    import sys

    if asked.json:
        say_json({"endpoint": found.endpoint, "pid": found.pid, "region": found.region})
    else:
        say(f"The sandbox is up: {found.endpoint}")
        tell('eval "$(elsewhere sandbox env)" points this shell at it; `elsewhere sandbox down` ends it.')
    sys.stdout.flush()


def _detached(asked: SimpleNamespace) -> int:
    import subprocess
    import sys
    import time

    from elsewhere.sandbox import state

    words = [f"--{name}={getattr(asked, name)}" for name in ("speed", "seed", "region", "lag", "isolation")]
    log = state.made() / "log"
    with state.held(state.made()) as free:
        if not free:
            raise UsageError("a sandbox is up already", hint="`elsewhere sandbox status` shows it; `down` ends it.")
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "elsewhere", "sandbox", "up", *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        found = state.find(state.directory())
        if found is not None and found.pid == process.pid:
            _say_up(asked, found)
            return 0
        time.sleep(0.02)
    raise StateError("the sandbox did not come up", hint=f"Its last words: {_tail(log)}")


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[-300:] or "none"
    except OSError:
        return "none"


def _env(asked: SimpleNamespace) -> int:
    """PATH is the reader's own with the sandbox's programs before it, once."""
    import os

    from elsewhere.sandbox import standins, state

    variables, programs = _found().variables(), str(state.directory() / standins.BIN)
    if asked.json:
        path = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != programs]
        say_json({**variables, "PATH": os.pathsep.join([programs, *path])})
    else:
        say(*(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
        say(f'export PATH={shlex.quote(programs)}:"$PATH"')
    return 0


def _status(asked: SimpleNamespace) -> int:
    reply = _ask("status")
    if asked.json:
        say_json(reply)
        return 0
    say(f"The sandbox is up: {reply['endpoint']}, {reply['region']}, clock x{reply['speed']:g}, seed {reply['seed']}.")
    counts = [f"{reply[state]} {state}" for state in ("running", "ending", "ended") if reply[state]]
    say(f"Machines: {', '.join(counts)}." if reply["running"] + reply["ending"]
        else f"Nothing left running; {reply['ended']} ended.")  # fmt: skip
    for kind, most in reply["stock"].items():
        say(f"Stock: at most {most} of {kind}.")
    for fault in reply["faults"]:
        left = "all" if fault["times"] is None else fault["times"]
        say(f"Fault: {fault['action']} {fault['kind']} {fault['code']}".rstrip() + f", {left} more.")
    if reply["denied"]:
        say(f"Denied: {', '.join(reply['denied'])}.")
    if reply["expired"]:
        say("Expired: your key; `elsewhere sandbox renew` makes it good again.")
    say(f"${reply['dollars']} so far.")
    return 0


def _machines(asked: SimpleNamespace) -> int:
    from elsewhere.observe.table import table

    rows = _ask("machines")["machines"]
    if asked.json:
        say_json(rows)
        return 0
    shown = [(row["id"], _state(row), row["type"], row["zone"], "spot" if row["spot"] else "on demand") for row in rows]
    say(*(table(("id", "state", "type", "zone", "price"), shown) if shown else ["No machines."]))
    return 0


def _state(row: dict[str, Any]) -> str:
    if row["state"] != "running":
        return str(row["state"])
    words = [name for name in ("frozen", "partitioned") if row[name]] + (["warned"] if row["notice"] else [])
    return ", ".join(words) or "running"


def _bill(asked: SimpleNamespace) -> int:
    from elsewhere.observe.table import table

    reply = _ask("bill")
    if asked.json:
        say_json(reply)
        return 0
    rows = [
        (row["machine"], row["type"], "spot" if row["spot"] else "on demand", f"{row['seconds']:.0f} s",
         *(f"${row[part]}" for part in ("compute", "disk", "address", "total")), row["note"])
        for row in reply["machines"]
    ]  # fmt: skip
    if rows:
        say(*table(("machine", "type", "price", "billed", "compute", "disk", "address", "total", ""), rows))
    paid = {kind: row for kind, row in reply["requests"].items() if float(row["dollars"])}
    for kind, row in paid.items():
        say(f"{row['count']:,} requests, {kind}: ${row['dollars']}")
    say(f"Total ${reply['total']}, at prices that are the sandbox's own invention.")
    say("Nothing left running." if not reply["running"] else f"{reply['running']} still running.")
    return 0


def _order(asked: SimpleNamespace) -> int:
    if not asked.what:
        raise UsageError(
            f"which machine? sandbox {asked.action} ID...", hint="`elsewhere sandbox machines` lists them."
        )
    words: dict[str, Any] = {"ids": asked.what}
    if asked.action == "preempt" and asked.notice is not None:
        words["notice"] = asked.notice.total_seconds()
    reply = _ask(asked.action, **words)
    done = {"preempt": "warned", "kill": "killed", "freeze": "frozen", "thaw": "thawed", "partition": "cut off",
            "heal": "reachable again"}[asked.action]  # fmt: skip
    if asked.json:
        say_json(reply)
    else:
        say(*(f"{id} {done}" for id in reply["machines"]))
    return 0


def _pairs(asked: SimpleNamespace, example: str) -> list[tuple[str, str]]:
    pairs = [word.partition("=") for word in asked.what]
    wrong = [word for word, (name, equals, value) in zip(asked.what, pairs, strict=True) if not (name and value)]
    if wrong or not pairs:
        said = f"{wrong[0]!r} is no order" if wrong else "what?"
        raise UsageError(f"sandbox {asked.action}: {said}", hint=f"Write for example: elsewhere sandbox {example}")
    return [(name, value) for name, _, value in pairs]


def _set(asked: SimpleNamespace) -> int:
    example = {"stock": "stock c7g.large=0", "quota": "quota standard=64", "price": "price c7g.large@us-east-1a=0.05"}
    orders = []
    for name, text in _pairs(asked, example[asked.action]):
        kind, _, zone = name.partition("@")
        try:
            value = str(Decimal(text)) if asked.action != "stock" else count(text)
        except (InvalidOperation, ValueError):
            raise UsageError(f"{text!r} is not a number", hint=f"elsewhere sandbox {example[asked.action]}") from None
        key = {"stock": "count", "quota": "value", "price": "price"}[asked.action]
        orders.append({"name": name, "type": kind, "zone": zone, key: value})
    for order in orders:
        reply = _ask(asked.action, **order)
    if asked.json:
        say_json(reply)
    return 0


def _fault(asked: SimpleNamespace) -> int:
    if asked.what == ["clear"]:
        reply = _ask("fault", clear=True)
    else:
        length = getattr(asked, "for")
        words = {"times": asked.times} if asked.times is not None else {}
        words |= {"seconds": length.total_seconds()} if length is not None else {}
        for action, kind in _pairs(asked, "fault RunInstances=lose-after"):
            reply = _ask("fault", action=action, kind=kind, code=asked.code, **words)
    if asked.json:
        say_json(reply)
    return 0


def _rights(asked: SimpleNamespace) -> int:
    """What the user's key may do, and whether it is good."""
    if asked.action in ("deny", "allow") and not asked.what:
        raise UsageError(
            f"sandbox {asked.action}: what?", hint="Write for example: elsewhere sandbox deny ec2:RunInstances"
        )
    reply = _ask(asked.action, actions=asked.what)
    reply.pop("secret", None)
    if asked.json:
        say_json(reply)
    return 0


def _down(asked: SimpleNamespace) -> int:
    import time

    from elsewhere.sandbox import control, serve, state

    path = state.directory()
    found = state.find(path)
    if found is not None:
        try:
            control.ask(found, "down")
        except StateError:
            pass  # killed: what it left is cleared away below
    end = time.monotonic() + 120
    while path.exists() and time.monotonic() < end:
        with state.held(path) as ours:
            if ours:
                serve.sweep(path)
        time.sleep(0.02)
    if path.exists():
        raise StateError("the sandbox does not end", hint=f"Its log: {path / 'log'}")
    if asked.json:
        say_json({"was_up": found is not None})
    else:
        say("The sandbox is down; nothing is left." if found else "No sandbox was up.")
    return 0
