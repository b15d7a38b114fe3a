"""What a controller knows of the place at which it sits, by one variable of its own: set by who asks (cli/there.py)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

SEATED = "ELSEWHERE_SEATED"


def sit(name: str, settings: Mapping[str, object], sent: Iterable[str]) -> None:
    """From now on, in this process and those that it starts. `settings`: what of that place's is otherwise here.
    `sent`: names of variables that came along, secrets among them."""
    os.environ[SEATED] = json.dumps({"name": name, "settings": dict(settings), "sent": sorted(sent)})


def settings(place: str) -> Mapping[str, object]:
    """What of this place's settings is otherwise, since we sit there; none: we do not."""
    here = _here()
    return dict(here["settings"]) if here.get("name") == place else {}


def alone(words: Iterable[str]) -> list[str]:
    """The words that run these without what is ours alone, for a command that hands its variables on."""
    names = [SEATED, *_here().get("sent", ())]
    return ["env", *(word for name in names for word in ("-u", name)), *words]


def _here() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(os.environ.get(SEATED) or "{}")
    return found
