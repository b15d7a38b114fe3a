"""What machines a place of so many and no more has for a job: asked before anything is made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

from elsewhere.backends import registry
from elsewhere.backends.base import Fleet, Spreads
from elsewhere.backends.boxes import Boxes
from elsewhere.errors import UsageError
from elsewhere.model.job import Box, JobSpec
from elsewhere.model.place import Place, Shape, ending, life
from elsewhere.model.resources import Resources
from elsewhere.model.units import show_duration as shown
from elsewhere.observe import wording


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
    threading.Thread(target=_load, args=(callable(getattr(backend, "dial", None)),), daemon=True).start()
    shapes = backend.shapes(need or spec.resources, slots)
    if not shapes:
        raise UsageError(f"no machine of {spec.place} has what a task needs",
                         hint=f"`elsewhere places check {spec.place}` shows what each has.")  # fmt: skip
    if spec.box is not None and isinstance(backend, Boxes):
        shapes = _able(shapes, backend, spec.box, spec.place)
    shapes = _narrowed(shapes, slots) if slots else shapes
    total = slots_of(shapes)
    shapes = backend.spread(shapes, 0) if isinstance(backend, Spreads) else shapes
    return replace(spec, machines=tuple(shapes), channel=channel, slots=total)


def _able(shapes: Sequence[Shape], backend: Boxes, box: Box, place: str) -> list[Shape]:
    """Those that have a runtime for it. UsageError: none has."""
    from elsewhere.ship import containers, images

    able = containers.those_for(box.runtime, images.form_of(box.image))
    has = {one.machine for one in backend.boxed() if set(one.runtimes) & set(able)}
    found = [shape for shape in shapes if shape.offer.name in has]
    if not found:
        raise containers.none_of(able, f"on a machine of {place}")
    return found


def _load(dialled: bool) -> None:
    """What runs the job is imported while its machines are asked."""
    from elsewhere.controller import drive, live, reach

    del drive, live, reach
    if dialled:
        from elsewhere.controller import dialled as more

        del more


def spread(spec: JobSpec, tasks: int) -> JobSpec:
    """The job with its machines as a list of so many tasks wants them, where its place has a choice. Nothing is made.

    PlaceError: the place was asked, and gave no answer. Twice: the same.
    """
    kind = spec.backend or spec.place
    if not tasks or not issubclass(registry.load(kind), Spreads):
        return spec
    backend = registry.build(Place(spec.place, kind, spec.settings))
    return replace(spec, machines=tuple(cast(Spreads, backend).spread(spec.machines, tasks)))


def fleet(place: Place, need: Resources, slots: int, tasks: int) -> Sequence[Shape]:
    """The machines of a place of so many and no more, as a list of so many tasks would have them; none: it is no such
    place. Errors as of `survey`; nothing is made."""
    backend = registry.build(place)
    if not isinstance(backend, Fleet):
        return ()
    shapes = backend.shapes(need, slots)
    shapes = _narrowed(shapes, slots) if slots else shapes
    return backend.spread(shapes, tasks) if isinstance(backend, Spreads) else shapes


def said(kind: str, shapes: Sequence[Shape]) -> str:
    """How a list goes to these machines of a backend, for people; empty: there is one way."""
    return wording.spread(shapes) if shapes and issubclass(registry.load(kind), Spreads) else ""


def slots_of(shapes: Sequence[Shape]) -> int:
    """Tasks at a time, on all of them."""
    return sum(shape.slots * (shape.abreast or shape.most or 1) for shape in shapes)


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
    if longest is None or spec.timeout is None:
        return
    kept = longest - life(longest) + ending(life(longest), spec.grace)
    if spec.timeout <= longest - kept:
        return
    raise UsageError(
        f"a task may take {shown(spec.timeout)}, and a machine of {spec.place} lives {shown(longest)}, of which"
        f" the last {shown(kept)} are for its end",
        hint=f"Set `walltime:` to {shown(spec.timeout + kept)} or more, or a timeout of {shown(longest - kept)}.",
    )
