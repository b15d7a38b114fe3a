"""Every class, method and function that CloudRun's text lists is there, with the parameters that it has there."""

from __future__ import annotations

import inspect
from abc import ABC
from enum import IntFlag

import pytest

from elsewhere.compat import cloudrun
from elsewhere.compat.cloudrun import core, provider

INSTANCE = """get_region get_id get_name get_rank get_ip_addr get_dns_addr get_cpus set_ip_addr(value) get_state
set_dns_addr(value) set_state(value) set_invalid(value) set_data(data) get_data(key) get_config(key) append_job(job)
get_environments get_jobs get_config_DIRTY is_invalid update_from_instance(instance)"""
JOB = "attach_env(env) get_hash get_config(key,defaultVal) get_env get_instance deploy(dpl_env) set_instance(instance)"
LISTED = {
    "CloudRunProvider": "debug(level) start assign_jobs_to_instances deploy run_jobs(wait) run_job(job,wait) "
    "wait_for_jobs_state(job_state,processes) get_jobs_states(processes) print_jobs_summary(instance) "
    "get_user_region get_recommended_cpus(inst_cfg) create_instance_objects(config) find_instance(config) "
    "start_instance(instance) stop_instance(instance) terminate_instance(instance) update_instance_info(instance)",
    "CloudRunInstance": INSTANCE,
    "CloudRunEnvironment": "get_name get_path deploy(instance)",
    "CloudRunDeployedEnvironment": "get_name get_path deploy(instance) get_path_abs get_instance json",
    "CloudRunJob": JOB,
    "CloudRunDeployedJob": JOB + " attach_process(process) get_path get_command",
    "CloudRunProcess": "get_uid get_pid get_state set_state(value) set_pid(value) get_job",
}
ABSTRACT = {
    "get_user_region", "get_recommended_cpus", "create_instance_objects", "find_instance", "start_instance",
    "stop_instance", "terminate_instance", "update_instance_info",
}  # fmt: skip
METHODS = [
    (owner, *method.rstrip(")").partition("(")[::2]) for owner, text in LISTED.items() for method in text.split()
]


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_each_method_is_there(owner: str, name: str, parameters: str) -> None:
    method = getattr(getattr(core, owner), name)
    found = [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert found[1:] == parameters.split(",") * bool(parameters)


def test_the_provider_is_abstract_in_what_a_cloud_does() -> None:
    assert issubclass(core.CloudRunProvider, ABC)
    assert core.CloudRunProvider.__abstractmethods__ == ABSTRACT
    assert issubclass(provider.AWSCloudRunProvider, core.CloudRunProvider)
    assert not inspect.isabstract(provider.AWSCloudRunProvider)


def test_the_global_functions_and_the_error_are_there() -> None:
    assert list(inspect.signature(provider.get_client).parameters) == ["config"]
    assert list(inspect.signature(provider.init_instance_name).parameters)[:1] == ["instance_config"]
    assert list(inspect.signature(provider.debug).parameters) == ["level", "args", "kwargs"]
    assert issubclass(core.CloudRunError, Exception)
    assert (cloudrun.provider, cloudrun.core) == (provider, core)
    with pytest.raises(AttributeError):
        cloudrun.nothing  # noqa: B018


def test_states_are_flags_of_these_values() -> None:
    jobs = {"UNKNOWN": 0, "WAIT": 1, "QUEUE": 2, "IDLE": 4, "RUNNING": 8, "DONE": 16, "ABORTED": 32, "ANY": 63}
    machines = {"UNKNOWN": 0, "STARTING": 1, "RUNNING": 2, "STOPPING": 4, "STOPPED": 8, "TERMINATING": 16,
                "TERMINATED": 32, "ANY": 63}  # fmt: skip
    for kind, values in ((core.CloudRunJobState, jobs), (core.CloudRunInstanceState, machines)):
        assert issubclass(kind, IntFlag)
        assert {name: int(kind[name]) for name in values} == values
    both = core.CloudRunJobState.DONE | core.CloudRunJobState.ABORTED
    assert int(both) == 48 and both & core.CloudRunJobState.ABORTED


def test_a_deployed_job_is_not_deployed_again() -> None:
    instance = core.CloudRunInstance({"region": None}, "i")
    job = core.CloudRunJob({"run_command": "x", "cpus_req": None}, "abc", 1)
    job.set_instance(instance)
    env = core.CloudRunEnvironment("e", {})
    deployed = job.deploy(env.deploy(instance))
    assert deployed.get_instance() is instance and deployed.get_hash() == "abc" and deployed.get_env() is not None
    assert job.get_config("cpus_req", 4) == 4 and job.get_deployed_jobs() == [deployed]
    with pytest.raises(core.CloudRunError):
        deployed.attach_env(env)
    with pytest.raises(core.CloudRunError):
        deployed.deploy(None)
    with pytest.raises(core.CloudRunError):
        deployed.set_instance(instance)


def test_an_instance_takes_over_what_is_known_of_another() -> None:
    first, second = core.CloudRunInstance({"region": "r"}, "a"), core.CloudRunInstance({"region": None}, "b")
    first.set_data({"id": "i-1"})
    first.set_ip_addr("10.0.0.1")
    first.set_state(core.CloudRunInstanceState.RUNNING)
    second.update_from_instance(first)
    assert (second.get_id(), second.get_ip_addr(), second.get_region(), second.get_name()) == (
        "i-1",
        "10.0.0.1",
        "r",
        "b",
    )
    assert second.get_state() == core.CloudRunInstanceState.RUNNING and not second.is_invalid()
