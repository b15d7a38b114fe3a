"""What may be asked of machines on a command line, as one table for `run`, `plan` and `offers`; and as Wants.

Sizes and counts are read here; what they mean together is checked by choose/wants.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli.grammar import Option
from elsewhere.cli.read import duration, positive, size

if TYPE_CHECKING:
    from elsewhere.choose.wants import Span, Wants
    from elsewhere.model.place import Limits

MACHINES, MONEY = "Machines", "Money"


def dollars(text: str) -> Decimal:
    """An amount of money; a dollar sign may stand before it."""
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!r} is not an amount of dollars; write for example 5 or 2.50")
    return amount


def spans(one: Callable[[str], Any], *, upto: bool = False) -> Callable[[str], Span]:
    """A reader of MIN..MAX. `upto`: one number alone is the most, not just that."""

    def read(text: str) -> Span:
        from elsewhere.choose.wants import Span

        return Span.read(f"..{text}" if upto and ".." not in text else text, one)

    return read


def names(text: str) -> tuple[str, ...]:
    """Names or patterns, with commas between them; a regular expression keeps its own."""
    if text.startswith("re:"):
        return (text,)
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise ValueError("an empty list")
    return found


_SPAN, _UPTO = "MIN..MAX", "N|MIN..MAX"

OPTIONS = (
    Option("--disk", value="SIZE", parse=size, group="Each task", help="Disk that a task needs for its files."),
    Option("--task-time", value="TIME", parse=duration, group="Each task",
           help="About how long one task takes; what a plan says of time and dollars follows from it."),
    Option("--spot", value="prefer", choices=("prefer",), alone="spot", group=MACHINES,
           help="Only spot machines, which cost less and may be taken back; =prefer: on demand where there is none."),
    Option("--region", value="NAMES", parse=names, many=True, group=MACHINES,
           help="Only these regions; by default the place's own."),
    Option("--zone", value="NAMES", parse=names, many=True, group=MACHINES, help="Only these zones; globs are."),
    Option("--machine-types", "--instance-types", value="GLOBS", parse=names, many=True, group=MACHINES,
           help="Only types whose names match: 'c7*,m7*', or re: before a regular expression."),
    Option("--architecture", value="ARCH", choices=("x86_64", "arm64", "any"), group=MACHINES,
           help="Of their processors. [x86_64]"),
    Option("--cpu-family", value="GLOBS", parse=names, many=True, group=MACHINES, help="Only these processors."),
    Option("--machine-cpus", value=_SPAN, parse=spans(positive), group=MACHINES, help="CPUs of each machine: 4..16."),
    Option("--machine-memory", value=_SPAN, parse=spans(size), group=MACHINES, help="Memory of each: 8GiB.."),
    Option("--memory-per-cpu", value=_SPAN, parse=spans(size), group=MACHINES, help="Its memory for each CPU."),
    Option("--memory-per-task", value=_SPAN, parse=spans(size), group=MACHINES,
           help="Its memory for each task that runs on it at a time."),
    Option("--machine-gpus", value=_SPAN, parse=spans(int), group=MACHINES, help="GPUs of each machine."),
    Option("--gpu-types", value="GLOBS", parse=names, many=True, group=MACHINES, help="Only these GPUs."),
    Option("--local-disk", value=_SPAN, parse=spans(size), group=MACHINES, help="Local disks of each machine."),
    Option("--local-disk-per-cpu", value=_SPAN, parse=spans(size), group=MACHINES, help="The same for each CPU."),
    Option("--local-disk-per-task", value=_SPAN, parse=spans(size), group=MACHINES, help="The same for each task."),
    Option("--boot-disk", value="SIZE", parse=size, group=MACHINES, help="At least so large a boot disk. [20GiB]"),
    Option("--boot-disk-base", value="SIZE", parse=size, group=MACHINES,
           help="Or, where that is more, so large and the next two."),
    Option("--boot-disk-per-cpu", value="SIZE", parse=size, group=MACHINES, help="So much more for each CPU."),
    Option("--boot-disk-per-task", value="SIZE", parse=size, group=MACHINES, help="So much more for each task."),
    Option("--tasks-per-machine", value=_UPTO, parse=spans(positive, upto=True), group=MACHINES,
           help="Tasks at a time on one machine."),
    Option("--simultaneous", value=_UPTO, parse=spans(positive, upto=True), group=MACHINES,
           help="Tasks at a time on all machines."),
    Option("--machines", "--instances", value=_UPTO, parse=spans(positive, upto=True), group=MACHINES,
           help="How many machines; a number alone is the most."),
    Option("--total-cpus", value=_UPTO, parse=spans(positive, upto=True), group=MACHINES, help="CPUs of all machines."),
    Option("--max-price-per-hour", value="DOLLARS", parse=dollars, group=MONEY,
           help="Of all machines together. [10]"),
    Option("--min-price-per-hour", value="DOLLARS", parse=dollars, group=MONEY, help="Of all machines together."),
    Option("--max-price-per-task", value="DOLLARS", parse=dollars, group=MONEY, help="Of one task; wants --task-time."),
    Option("--budget", value="DOLLARS", parse=dollars, group=MONEY, help="For the whole job."),
)  # fmt: skip


def wants(asked: SimpleNamespace, limits: Limits | None = None) -> Wants:
    """What was typed, over what settings say (cli/projects.py put it there), within the limits of a place; checked."""
    from elsewhere.choose import given
    from elsewhere.choose.wants import BootDisk

    found = {option.key: getattr(asked, option.key) for option in OPTIONS}
    for option in OPTIONS:
        if option.many:
            found[option.key] = tuple(name for part in found[option.key] for name in part) or None
    if size := _of_inputs(getattr(asked, "input", ())):
        found["boot_disk"] = (found["boot_disk"] or BootDisk().total) + size
    return given.wants(found, _task(asked), limits)


def _of_inputs(sources: Sequence[str]) -> int:
    """Bytes that inputs take on a machine, as they come and unpacked; what URLs name is not known."""
    from pathlib import Path

    paths = [Path(text).expanduser() for text in sources if "://" not in text]
    files = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return 2 * sum(file.stat().st_size for file in files)


def settle(asked: SimpleNamespace, known: Mapping[str, Any]) -> None:
    """What settings ask of machines, where nothing was typed."""
    for option in OPTIONS:
        if option.key in known and getattr(asked, option.key, known) in (None, []):
            setattr(asked, option.key, [known[option.key]] if option.many else known[option.key])


def _task(asked: SimpleNamespace) -> Any:
    """The needs of one task: as typed, else as settings say, else one CPU."""
    from dataclasses import replace

    from elsewhere.model.resources import Resources

    base = getattr(asked, "defaults", {}).get("resources") or Resources()
    given = {name: getattr(asked, name) for name in ("cpus", "memory", "disk", "gpus") if getattr(asked, name)}
    return replace(base, **given)
