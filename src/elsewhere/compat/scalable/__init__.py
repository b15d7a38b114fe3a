"""The names of Scalable: what was `scalable` there is `elsewhere.compat.scalable` here.

Thin: its cluster is one of ours, and nothing is done twice.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from distributed import Security as Security
    from distributed import get_worker as get_worker

    from elsewhere.compat.scalable.caching import DirType as DirType
    from elsewhere.compat.scalable.caching import FileType as FileType
    from elsewhere.compat.scalable.caching import GenericType as GenericType
    from elsewhere.compat.scalable.caching import ObjectType as ObjectType
    from elsewhere.compat.scalable.caching import UtilityType as UtilityType
    from elsewhere.compat.scalable.caching import ValueType as ValueType
    from elsewhere.compat.scalable.caching import cacheable as cacheable
    from elsewhere.compat.scalable.clients import ScalableClient as ScalableClient
    from elsewhere.compat.scalable.clusters import SlurmCluster as SlurmCluster

_PLACES = {
    "SlurmCluster": "elsewhere.compat.scalable.clusters",
    "ScalableClient": "elsewhere.compat.scalable.clients",
    **dict.fromkeys(
        ("cacheable", "GenericType", "ValueType", "ObjectType", "UtilityType", "FileType", "DirType"),
        "elsewhere.compat.scalable.caching",
    ),
    "Security": "distributed",
    "get_worker": "distributed",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
