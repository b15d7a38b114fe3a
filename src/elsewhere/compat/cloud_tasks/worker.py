"""`from elsewhere.compat.cloud_tasks.worker import Worker, WorkerData`: the worker of a task list."""

from elsewhere.api.tasks import Worker, WorkerData

__all__ = ["Worker", "WorkerData"]
