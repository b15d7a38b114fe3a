"""CloudRun's text as it stands, but for the import lines and its undefined `config`, on the sandbox's machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.compat.cloudrun import command, machines, provider
from elsewhere.compat.cloudrun.core import CloudRunError, CloudRunJobState
from elsewhere.controller import hired
from elsewhere.errors import UsageError
from places.far import world
from sandbox.cloud import Sandbox, until
from ship.wheels import wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

README = """
from elsewhere.compat.cloudrun      import provider as cloudrun
from elsewhere.compat.cloudrun.core import CloudRunJobState
import asyncio

# load config
config = __import__(config).config

# create provider: this loads the config
provider = cloudrun.get_client(config)

# start the provider: this attempts to create the instances
provider.start()

# assign the jobs onto the instances
provider.assign_jobs_to_instances()

# deploy the necessary stuff onto the instances
provider.deploy()

# run the jobs and get active processes objects back
processes = provider.run_jobs()

# wait for the activate proccesses to be done:
processes = provider.wait_for_jobs_state(CloudRunJobState.DONE|CloudRunJobState.ABORTED,processes)
# OR wait for all processes to be done
provider.wait_for_jobs_state(CloudRunJobState.DONE|CloudRunJobState.ABORTED)

# you can get the state of all jobs this way:
processes = provider.get_jobs_states()
# or get the state for a specific list of processes:
processes = provider.get_jobs_states(processes)

# you can print processes summary with:
provider.print_jobs_summary()
"""
CONFIG = """
config = {
    'project': 'test', 'dev': False, 'debug': 1, 'maestro': 'local', 'provider': 'aws', 'job_assign': None,
    'recover': True, 'print_deploy': False,
    'instances': [{
        'region': None, 'cloud_id': 'vpc-00000000', 'img_id': IMAGE, 'img_username': 'ubuntu', 'type': 't2.micro',
        'cpus': None, 'gpu': None, 'disk_size': 30, 'disk_type': 'gp2', 'eco': True, 'eco_life': None, 'max_bid': 0.5,
        'number': 1, 'explode': True,
    }],
    'environments': [{
        'name': None, 'env_aptget': ['openssh-client'], 'env_conda': 'example/environment.yml',
        'env_pypi': 'example/requirements.txt',
    }],
    'jobs': [
        {'run_script': 'example/run_remote.py 1 10', 'upload_files': ['example/uploaded.txt'],
         'input_file': 'input.dat', 'output_file': 'output.dat'},
        {'run_script': 'example/run_remote.py 2 12', 'upload_files': ['example/uploaded.txt'],
         'input_file': 'input.dat', 'output_file': 'output.dat'},
        {'run_command': 'echo $((1 + 1)) | tee x && false', 'output_file': 'x'},
        {'run_command': 'true', 'output_file': 'never.dat'},
    ],
}
"""
SCRIPT = """
import alpha, beta, sys
assert (alpha.VALUE, beta.VALUE) == (1, 2)
with open("output.dat", "w") as file:
    file.write(" ".join([*sys.argv[1:], open("uploaded.txt").read(), open("input.dat").read()]))
"""


@pytest.fixture
def cloud(far_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "run_remote.py").write_text(SCRIPT)
    (tmp_path / "example" / "uploaded.txt").write_text("uploaded")
    (tmp_path / "input.dat").write_text("input")
    (tmp_path / "example" / "environment.yml").write_text("dependencies:\n- pip\n- pip: [alpha]\n")
    (tmp_path / "example" / "requirements.txt").write_text("beta>=2\n")
    (tmp_path / "wheels").mkdir()
    for name, version in (("alpha", 1), ("beta", 2)):
        wheel(tmp_path / "wheels", name, f"{version}.0", f"VALUE = {version}\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with world(far_home) as cloud:
        (tmp_path / "my_cloudrun_config.py").write_text(CONFIG.replace("IMAGE", repr(cloud.image())))
        yield cloud


def test_the_text_runs_as_it_stands_and_a_second_time_nothing_is_done_again(
    cloud: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"config": "my_cloudrun_config"}
    exec(README, names)
    processes = names["processes"]
    done, aborted = CloudRunJobState.DONE, CloudRunJobState.ABORTED
    assert [process.get_state() for process in processes] == [done, done, aborted, aborted]
    assert processes[0].get_job().get_command() == "python example/run_remote.py 1 10"
    assert "ABORTED sh -c true" in " ".join(capsys.readouterr().out.split())
    [machine] = cloud.machines()
    assert (machine["type"], machine["spot"]) == ("t2.micro", True)
    run = names["provider"]._runs[0]
    assert run.spec.machines[0].offer.resources.disk == 30 << 30 and run.spec.limits.price_per_hour == Decimal("0.5")
    assert (run.spec.settings["disk_type"], run.spec.settings["image"]) == ("gp2", cloud.image())
    left = {path.name: path.read_text() for path in run.files.outputs.rglob("*") if path.is_file()}
    assert left["output.dat"] in ("1 10 uploaded input", "2 12 uploaded input")
    assert run.instance.get_id() == machine["id"]
    until(lambda: cloud.machines()[0]["state"] == "terminated", "the machine has ended")

    uid = processes[0].get_uid()
    assert command.main(["getstate", processes[0].get_job().get_hash(), uid]) == 0
    assert command.main(["wait", uid]) == 1, "two of them are not done"
    assert command.main(["demo", "my_cloudrun_config.py"]) == 1
    assert f"{processes[0].get_job().get_hash()} DONE" in capsys.readouterr().out
    assert len(cloud.machines()) == 1, "what has ended is not run again"


def test_instances_are_as_many_as_they_say(cloud: Sandbox) -> None:
    text: dict[str, Any] = {}
    exec((Path.cwd() / "my_cloudrun_config.py").read_text(), text)
    config = text["config"]
    client = provider.get_client(config)
    whole = {**client._config["instances"][0], "project": "p", "dev": False, "type": "c5.large"}
    assert [one.get_cpus() for one in client.create_instance_objects(whole)] == [2]
    many = client.create_instance_objects({**whole, "number": 3, "cpus": 5})
    assert [one.get_cpus() for one in many] == [2, 2, 1] * 3 and len({one.get_name() for one in many}) == 9
    with pytest.raises(CloudRunError, match="has 2 CPUs, and 5 are asked for"):
        client.create_instance_objects({**whole, "cpus": 5, "explode": False})
    with pytest.raises(CloudRunError, match=r"there is no type 'c5.larg'.*did you mean 'c5.large'"):
        client.create_instance_objects({**whole, "type": "c5.larg"})
    assert client.get_recommended_cpus(whole) == [1, 2] and client.get_user_region() == "us-east-1"
    [vpc] = cloud.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert machines.place({**whole, "cloud_id": vpc["VpcId"]}).settings["network"] == vpc["VpcId"]
    assert "network" not in machines.place({**whole, "cloud_id": "nonsense"}).settings
    assert client.find_instance(whole) is None
    for stage in (client.assign_jobs_to_instances, client.run_jobs, client.get_jobs_states):
        with pytest.raises(CloudRunError, match="yet"):
            stage()


def test_words_about_machines_mean_what_they_say(cloud: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    text: dict[str, Any] = {}
    exec((Path.cwd() / "my_cloudrun_config.py").read_text(), text)
    [given] = text["config"]["instances"]

    def deployed(**over: Any) -> list[Any]:
        config = {**text["config"], "recover": False, "print_deploy": True, "environments": []}
        config["instances"] = [{**given, **over}]
        client = provider.get_client(config)
        client.start()
        client.assign_jobs_to_instances()
        client.deploy()
        return [run.spec for run in client._runs]

    [spot] = deployed(type="c5.large", eco_life=timedelta(hours=3), max_bid=None)
    price = max(shape.offer.price for shape in spot.machines)
    assert all(shape.offer.spot for shape in spot.machines) and spot.slots == 2
    assert abs(spot.limits.budget - 3 * price) < Decimal("0.001") and spot.limits.machines == 1
    two = deployed(type="c5.large", eco=False, max_bid=None, number=2, cpus=2, disk_size=None)
    assert [spec.limits.budget for spec in two] == [Decimal(5), Decimal(5)]
    assert not any(shape.offer.spot for spec in two for shape in spec.machines)
    assert "python example/run_remote.py 1 10" in capsys.readouterr().out
    with pytest.raises(UsageError):
        deployed(type="c5.large", gpu="T4")
    with pytest.raises(UsageError):
        deployed(type="c5.large", max_bid=0.0001)
    [gpu] = deployed(type="g4dn.xlarge", gpu="T4", max_bid=None)
    assert gpu.resources.gpus == 1 and cloud.machines() == []


def test_dev_finds_the_same_machine_and_gives_it_files_as_they_are_now(cloud: Sandbox, tmp_path: Path) -> None:
    text: dict[str, Any] = {}
    exec((tmp_path / "my_cloudrun_config.py").read_text(), text)
    config = {**text["config"], "dev": True, "jobs": text["config"]["jobs"][:1]}

    def left() -> tuple[str, str]:
        client = provider.get_client(config)
        client.start()
        client.assign_jobs_to_instances()
        client.deploy()
        [process] = client.run_jobs(wait=True)
        assert process.get_state() == CloudRunJobState.DONE
        [run] = client._runs
        assert run.files is not None
        with closing(run.files.open()) as ledger:
            view = ledger.task(process.get_job().get_hash())
            assert view is not None
        file = run.files.outputs / f"{view.n}.{view.attempt}" / "output.dat"
        return str(run.instance.get_id()), file.read_text()

    first = left()
    (tmp_path / "example" / "uploaded.txt").write_text("anew")
    (tmp_path / "example" / "run_remote.py").write_text(SCRIPT + "    file.write(' and changed')\n")
    second = left()
    assert first[1] == "1 10 uploaded input" and second == (first[0], "1 10 anew input and changed")
    [machine] = cloud.machines()
    assert machine["id"] == first[0] and machine["state"] == "running", "it is kept"
    session.cancel(session.listing()[0])
    until(lambda: cloud.machines()[0]["state"] == "terminated", "the machine has ended")


@pytest.mark.soak
def test_a_remote_maestro_sits_on_a_machine_of_its_own_and_its_jobs_come_home(
    cloud: Sandbox, far_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("h")
    (far_home / "cache").mkdir(exist_ok=True)
    (home / "cache").symlink_to(far_home / "cache")
    monkeypatch.setenv("ELSEWHERE_HOME", str(home))
    monkeypatch.setattr(hired, "LINGER", 3)
    text: dict[str, Any] = {}
    exec((Path.cwd() / "my_cloudrun_config.py").read_text(), text)
    job = {"run_command": "cat input.dat >out", "input_file": "input.dat", "output_file": "out"}
    config = {**text["config"], "maestro": "remote", "environments": [], "jobs": [job, {"run_command": "false"}]}

    def run(home: bool) -> list[CloudRunJobState]:
        client = provider.get_client(config)
        client.start()
        client.assign_jobs_to_instances()
        client.deploy()
        processes = client.run_jobs()
        assert len(session.listing()) == home, "nothing of it is here until it has come home"
        processes = client.wait_for_jobs_state(CloudRunJobState.DONE | CloudRunJobState.ABORTED, processes)
        return [one.get_state() for one in processes]

    assert run(home=False) == [CloudRunJobState.DONE, CloudRunJobState.ABORTED]
    [seat] = [one for one in cloud.cloud.fleet.known() if one.tags["elsewhere:job"].startswith("seat-")]
    until(lambda: seat.move.state == "terminated", "it ends by itself", 150)
    assert run(home=True) == [CloudRunJobState.DONE, CloudRunJobState.ABORTED]
    [files] = session.listing()
    assert (files.outputs / "1.1" / "out").read_text() == "input"
    assert len(cloud.cloud.fleet.known()) == 2, "nothing was done twice"
