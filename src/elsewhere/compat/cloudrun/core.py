"""`from elsewhere.compat.cloudrun.core import CloudRunJobState`: the names of CloudRun's classes."""

from elsewhere.compat.cloudrun.stages import CloudRunProvider
from elsewhere.compat.cloudrun.states import CloudRunError, CloudRunInstanceState, CloudRunJobState
from elsewhere.compat.cloudrun.things import (
    CloudRunDeployedEnvironment,
    CloudRunDeployedJob,
    CloudRunEnvironment,
    CloudRunInstance,
    CloudRunJob,
    CloudRunProcess,
    debug,
)

__all__ = [
    "CloudRunDeployedEnvironment",
    "CloudRunDeployedJob",
    "CloudRunEnvironment",
    "CloudRunError",
    "CloudRunInstance",
    "CloudRunInstanceState",
    "CloudRunJob",
    "CloudRunJobState",
    "CloudRunProcess",
    "CloudRunProvider",
    "debug",
]
