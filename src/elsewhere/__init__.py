"""Write it here, run it elsewhere. The public names, loaded when first used (PEP 562)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers read it; typing itself would double the cost of importing us
__version__ = "0.1.0"

_PLACES = {
    "remote": "elsewhere.api.remote",
    "run": "elsewhere.api.command",
    "submit": "elsewhere.api.command",
    "submit_all": "elsewhere.api.command",
    "Executor": "elsewhere.api.executor",
    "Worker": "elsewhere.api.tasks",
    "WorkerData": "elsewhere.api.tasks",
    "Job": "elsewhere.api.jobs",
    "jobs": "elsewhere.api.jobs",
    "Project": "elsewhere.api.project",
    "Cluster": "elsewhere.api.cluster",
    "cacheable": "elsewhere.api.caching",
    "attach": "elsewhere.api.jobs",
    "Resources": "elsewhere.model.resources",
    "Environment": "elsewhere.model.job",
    "RetryPolicy": "elsewhere.model.task",
    "Done": "elsewhere.slot.task",
    "Again": "elsewhere.slot.task",
    "Fail": "elsewhere.slot.task",
    "current_task": "elsewhere.slot.task",
}

if TYPE_CHECKING:
    from elsewhere.api.caching import cacheable as cacheable
    from elsewhere.api.cluster import Cluster as Cluster
    from elsewhere.api.command import run as run
    from elsewhere.api.command import submit as submit
    from elsewhere.api.command import submit_all as submit_all
    from elsewhere.api.executor import Executor as Executor
    from elsewhere.api.jobs import Job as Job
    from elsewhere.api.jobs import attach as attach
    from elsewhere.api.jobs import jobs as jobs
    from elsewhere.api.project import Project as Project
    from elsewhere.api.remote import remote as remote
    from elsewhere.api.tasks import Worker as Worker
    from elsewhere.api.tasks import WorkerData as WorkerData
    from elsewhere.model.job import Environment as Environment
    from elsewhere.model.resources import Resources as Resources
    from elsewhere.model.task import RetryPolicy as RetryPolicy
    from elsewhere.slot.task import Again as Again
    from elsewhere.slot.task import Done as Done
    from elsewhere.slot.task import Fail as Fail
    from elsewhere.slot.task import current_task as current_task

__all__ = ["__version__", *_PLACES]  # noqa: PLE0604 (strings they are)


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        loaded = sys.modules.get(f"{__name__}.{name}")
        if loaded is not None:  # in a slot, parts of this package are loaded before it is
            return loaded
        if name != "errors":
            raise AttributeError(f"module 'elsewhere' has no attribute {name!r}")
        module, value = "elsewhere.errors", __import__("elsewhere.errors", fromlist=["_"])
    else:
        value = getattr(__import__(module, fromlist=["_"]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
