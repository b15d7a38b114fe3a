"""The states of CloudRun's instances and jobs, and its error."""

from __future__ import annotations

from enum import IntFlag

from elsewhere.errors import UsageError
from elsewhere.model.states import AllocationState, TaskState


class CloudRunError(UsageError):
    """What is wrong with a configuration, or with the order of the stages."""


class CloudRunInstanceState(IntFlag):
    UNKNOWN = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 4
    STOPPED = 8
    TERMINATING = 16
    TERMINATED = 32
    ANY = 32 + 16 + 8 + 4 + 2 + 1


class CloudRunJobState(IntFlag):
    UNKNOWN = 0
    WAIT = 1
    """Its machine is not there yet."""
    QUEUE = 2
    """Its machine is there, and busy."""
    IDLE = 4
    """It is about to start."""
    RUNNING = 8
    DONE = 16
    ABORTED = 32
    """It failed, was cancelled, or left no output."""
    ANY = 32 + 16 + 8 + 4 + 2 + 1


ENDED = CloudRunJobState.DONE | CloudRunJobState.ABORTED
OF_TASKS = {
    TaskState.SUCCEEDED: CloudRunJobState.DONE,
    TaskState.FAILED: CloudRunJobState.ABORTED,
    TaskState.CANCELLED: CloudRunJobState.ABORTED,
}
OF_MACHINES = {
    AllocationState.PLANNED: CloudRunInstanceState.STARTING,
    AllocationState.PENDING: CloudRunInstanceState.STARTING,
    AllocationState.RUNNING: CloudRunInstanceState.RUNNING,
    AllocationState.UNREACHABLE: CloudRunInstanceState.RUNNING,
    AllocationState.STOPPING: CloudRunInstanceState.TERMINATING,
    AllocationState.STOPPED: CloudRunInstanceState.TERMINATED,
    AllocationState.FAILED: CloudRunInstanceState.TERMINATED,
    AllocationState.LOST: CloudRunInstanceState.TERMINATED,
}
