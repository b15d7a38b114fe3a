"""The names of CloudRun: what was `cloudrun` there is `elsewhere.compat.cloudrun` here.

Thin: its stages are jobs of ours on the place `aws`, and nothing is done twice.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from elsewhere.compat.cloudrun import core as core
    from elsewhere.compat.cloudrun import provider as provider

__all__ = ["core", "provider"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.{name}")
