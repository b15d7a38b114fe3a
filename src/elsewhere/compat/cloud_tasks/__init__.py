"""The names of rms-cloud-tasks: what was `cloud_tasks` there is `elsewhere.compat.cloud_tasks` here.

Thin: nothing but names of api/ may enter.
"""

from elsewhere.compat.cloud_tasks.worker import Worker, WorkerData

__all__ = ["Worker", "WorkerData"]
