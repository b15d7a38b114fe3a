"""What machines a place of so many and no more has for a job: asked before anything is made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from elsewhere.backends import registry
from elsewhere.backends.base import Fleet
from elsewhere.errors import UsageError
from elsewhere.model.job import JobSpec
from elsewhere.model.place import Place, Shape, life
from elsewhere.model.resources import Resources
from elsewhere.model.units import show_duration as shown


def survey(spec: JobSpec, slots: int, need: Resources | None) -> JobSpec:
    """As `session.survey` says it."""
    backend = registry.build(Place(spec.place, spec.backend or spec.place, spec.settings))
    if not isinstance(backend, Fleet):
        return spec
    channel = spec.channel or backend.traits.channels[0]
    if channel not in backend.traits.channels:
        raise UsageError(f"{spec.place} is not reached by the channel {channel!r}",
                         hint=f"It has: {', '.join(backend.traits.channels)}.")  # fmt: skip
    _check_life(spec, backend.traits.max_walltime)
    threading.Thread(target=_load, daemon=True).start()
    shapes = backend.shapes(need or spec.resources, slots)
    if not shapes:
        raise UsageError(f"no machine of {spec.place} has what a task needs",
                         hint=f"`elsewhere places check {spec.place}` shows what each has.")  # fmt: skip
    shapes = _narrowed(shapes, slots) if slots else shapes
    total = sum(shape.slots * (shape.most or 1) for shape in shapes)
    return replace(spec, machines=tuple(shapes), channel=channel, slots=total)


def _load() -> None:
    """What runs the job is imported while its machines are asked."""
    from elsewhere.controller import dialled, drive, live

    del dialled, drive, live


def _narrowed(shapes: Sequence[Shape], slots: int) -> list[Shape]:
    """No more than so many tasks at a time in all: on as many machines as there are, a few on each."""
    each, found = -(-slots // sum(shape.most or 1 for shape in shapes)), []
    for shape in shapes:
        size = min(shape.slots, each)
        count = min(shape.most or 1, -(-slots // size))
        if count > 0:
            found.append(replace(shape, slots=size, most=count))
            slots -= count * size
    return found


def _check_life(spec: JobSpec, longest: timedelta | None) -> None:
    """UsageError: a task may take longer than a machine there lives."""
    if longest is None or spec.timeout is None or spec.timeout <= life(longest):
        return
    kept = longest - life(longest)
    raise UsageError(
        f"a task may take {shown(spec.timeout)}, and a machine of {spec.place} lives {shown(longest)}, of which"
        f" the last {shown(kept)} are for its end",
        hint=f"Set `walltime:` to {shown(spec.timeout + kept)} or more, or a timeout of {shown(life(longest))}.",
    )
