"""CloudRun's `config`: as its text shows it, with everything wrong in it; environments, names, and who gets what."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere.compat.cloudrun import assigning, command, runs, software, words
from elsewhere.compat.cloudrun.core import CloudRunError, CloudRunInstance, CloudRunJob
from elsewhere.compat.cloudrun.provider import debug, get_client, init_instance_name
from elsewhere.errors import UsageError

INSTANCE: dict[str, Any] = {
    "region": None, "cloud_id": None, "img_id": "ami-077fd75cd229c811b", "img_username": "ubuntu", "type": "t2.micro",
    "cpus": None, "gpu": None, "disk_size": None, "disk_type": None, "eco": True, "eco_life": None, "max_bid": None,
    "number": 1, "explode": True,
}  # fmt: skip
JOB: dict[str, Any] = {
    "env_name": None, "cpus_req": None, "run_script": "example/run_remote.py 1 10", "run_command": None,
    "upload_files": ["example/uploaded.txt"], "input_file": "input.dat", "output_file": "output.dat",
}  # fmt: skip
SEED: dict[str, Any] = {
    "project": "test", "dev": False, "debug": 1, "maestro": "local", "provider": "aws", "job_assign": None,
    "recover": True, "print_deploy": False,
    "instances": [INSTANCE],
    "environments": [{
        "name": None, "env_aptget": ["openssh-client"], "env_conda": "example/environment.yml",
        "env_pypi": "example/requirements.txt",
    }],
    "jobs": [JOB, {**JOB, "run_script": "example/run_remote.py 2 12"}],
}  # fmt: skip


def changed(**over: Any) -> dict[str, Any]:
    """The text's, with other words: of the first instance, environment or job if they have such a key."""
    found = {**SEED, "instances": [{**INSTANCE}], "environments": [{**SEED["environments"][0]}], "jobs": [{**JOB}]}
    for key, value in over.items():
        part: Any = next((found[name][0] for name, known in words.SECTIONS.items() if key in known), found)
        part[key] = value
    return found


def test_the_text_s_own_configuration_is_understood() -> None:
    found = words.read(SEED)
    assert (found["job_assign"], found["recover"], len(found["jobs"])) == ("multi_knapsack", True, 2)
    assert found["instances"][0]["number"] == 1 and found["environments"][0]["env_aptget"] == ("openssh-client",)
    assert [note.partition(" ")[0] for note in words.notes(found)] == ["img_username"]


def test_values_of_all_kinds_are_taken() -> None:
    found = words.read(
        changed(max_bid="0.5", eco_life=timedelta(hours=2), upload_files="a.txt", env_conda=["python=3.12"])
    )
    assert found["instances"][0]["max_bid"] == Decimal("0.5")
    assert found["jobs"][0]["upload_files"] == ("a.txt",) and found["environments"][0]["env_conda"] == ("python=3.12",)
    assert words.read(changed(max_bid=0.25))["instances"][0]["max_bid"] == Decimal("0.25")


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"maestro": "lambda"}, "maestro is wrong: lambda cannot hold a run of more than 15 minutes: write 'remote'"),
        ({"maestro": "remote", "dev": True}, "maestro is remote, and in dev a machine stays"),
        ({"provider": "azure"}, "provider is wrong: azure cannot be had yet: write 'aws'"),
        ({"provider": "awz"}, "provider must be one of aws"),
        ({"job_assign": "best"}, "job_assign must be one of random, multi_knapsack"),
        ({"debug": 7}, "debug must be one of 0, 1, 2, 3"),
        ({"type": None}, "instances[0].type is missing"),
        ({"disk_type": "st1"}, "instances[0].disk_type must be a disk that a machine boots from"),
        ({"eco": False, "max_bid": 1}, "max_bid is a bid for machines with eco: True"),
        ({"eco": False, "eco_life": timedelta(1)}, "eco_life is of machines with eco: True"),
        ({"eco_life": 3600}, "eco_life must be a datetime.timedelta above 0"),
        ({"number": 0}, "number must be 1 or more"),
        ({"env_aptget": "curl"}, "env_aptget must be a list of strings"),
        ({"run_script": "model.f90"}, "must begin with a script that ends in .py, .jl, .R or .sh"),
        ({"run_script": None}, "jobs[0] has neither run_script nor run_command"),
        ({"env_name": "mani"}, "jobs[0].env_name: there is no environment 'mani'"),
        ({"instances": []}, "instances is empty"),
        ({"jobs": {}}, "jobs is empty"),
        ({"jobs": [1]}, "jobs must be a list of dicts"),
        ({"projct": "x"}, "unknown key projct; did you mean 'project'?"),
        ({"instances": [{"typ": "t2.micro"}]}, "unknown key instances[0].typ; did you mean 'type'?"),
    ],
)
def test_what_cannot_be_is_said_with_its_key(over: dict[str, Any], said: str) -> None:
    with pytest.raises(CloudRunError) as raised:
        get_client(changed(**over))
    assert said in raised.value.message, raised.value.message


def test_all_faults_are_told_at_once_and_environments_need_names_where_there_are_several() -> None:
    two = [{"name": "a"}, {"name": "a"}, {}]
    with pytest.raises(CloudRunError) as raised:
        words.read({**changed(debug=9), "environments": two})
    assert raised.value.message.count("; ") == 3
    for said in ("debug", "two are called 'a'", "environments[2].name is missing", "jobs[0].env_name is missing"):
        assert said in raised.value.message


def test_names_of_instances_are_of_what_they_are_and_stay_in_dev() -> None:
    one, other = {**INSTANCE, "project": "test"}, {**INSTANCE, "project": "test", "type": "c5.large"}
    assert init_instance_name(one).startswith("cloudrun-test-") and init_instance_name(one) != init_instance_name(other)
    assert init_instance_name({**one, "project": None}).count("-") == 1
    assert init_instance_name(one, dev=True) == init_instance_name(other, dev=True) == "cloudrun-test-dev"


def test_debug_prints_what_its_level_wants(capsys: pytest.CaptureFixture[str]) -> None:
    debug(1, "said", color="red")
    client = get_client(changed(debug=1, img_username=None))
    client.debug(1, "one")
    client.debug(2, "two")
    assert capsys.readouterr().out == "said\none\n"


# --- environments ---------------------------------------------------------------------------------------------------


def environment(folder: Path, **over: Any) -> Any:
    given = {"env_aptget": None, "env_conda": None, "env_pypi": None, **over}
    return software.environment(words.read(changed(**given))["environments"][0], folder)


def test_conda_and_pip_go_together_as_lists_and_as_files(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("name: x\ndependencies:\n- python=3.11\n- pip\n- pip: [scipy, 'a<2']\n")
    (tmp_path / "requirements.txt").write_text("numpy\n")
    found = environment(tmp_path, env_conda="environment.yml", env_pypi="requirements.txt", env_aptget=["curl"])
    assert (found.python, found.apt) == ("3.11", ("curl",))
    assert found.pip == (f"-r {tmp_path / 'requirements.txt'}", "scipy", "a<2")
    found = environment(tmp_path, env_conda=["python==3.12.*", "pip"], env_pypi=["numpy>=2"])
    assert (found.python, found.pip) == ("3.12", ("numpy>=2",))
    assert environment(tmp_path).pip == ()


def test_an_environment_s_own_directory_gives_what_is_installed_there(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "alpha-1.5.dist-info").mkdir()
    (site / "alpha-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.5\n")
    assert environment(tmp_path, env_pypi="venv").pip == ("alpha==1.5",)
    (venv / "conda-meta").mkdir()
    (venv / "conda-meta" / "python-3.html.json").write_text("{}")
    found = environment(tmp_path, env_conda="venv")
    assert (found.python, found.pip) == (".".join(map(str, sys.version_info[:2])), ("alpha==1.5",))
    (venv / "conda-meta" / "python-3.html.json").unlink()
    (venv / "conda-meta" / "gsl-2.json").write_text(
        f'{{"name": "gsl", "url": "https://c/gsl", "sha256": "{"a" * 64}"}}'
    )
    found = environment(tmp_path, env_conda="venv")
    assert (found.conda, found.pip) == ((f"https://c/gsl#{'a' * 64}",), ("alpha==1.5",))


def test_packages_of_conda_travel_as_they_are_asked_for(tmp_path: Path) -> None:
    assert environment(tmp_path, env_conda=["gsl", "python=3.11"]).conda == ("gsl", "python=3.11")
    (tmp_path / "environment.yml").write_text("channels: [mine]\ndependencies: [gsl, {pip: [scipy]}]\n")
    found = environment(tmp_path, env_conda="environment.yml", env_pypi=["numpy"])
    assert (found.conda, found.channels, found.pip) == (("gsl",), ("mine",), ("numpy", "scipy"))


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"env_conda": "no.yml"}, "env_conda: there is no no.yml"),
        ({"env_pypi": "no.txt"}, "env_pypi: there is no no.txt"),
        ({"env_pypi": "."}, "env_pypi: . is no environment"),
        ({"env_conda": "."}, "env_conda: . is no environment of conda"),
    ],
)
def test_an_environment_that_cannot_be_had_is_refused_with_the_reason(
    tmp_path: Path, over: dict[str, Any], said: str
) -> None:
    with pytest.raises(CloudRunError) as raised:
        environment(tmp_path, **over)
    assert said in raised.value.message


# --- who gets what --------------------------------------------------------------------------------------------------


def spread(needs: list[int], rooms: list[int], how: str) -> list[list[int]]:
    instances = [CloudRunInstance({"region": None}, str(k), cpus=room) for k, room in enumerate(rooms)]
    assigning.assign([CloudRunJob({"cpus_req": need}, str(k), k) for k, need in enumerate(needs)], instances, how)
    return [[job.get_config("cpus_req") for job in one.get_jobs()] for one in instances]


def test_packed_fills_as_few_as_it_can_before_the_next_round() -> None:
    assert spread([1, 2, 4], [4, 4], "multi_knapsack") == [[4], [2, 1]]
    assert spread([2, 2], [4, 4], "multi_knapsack") == [[2, 2], []]
    assert spread([3, 3, 3], [4], "multi_knapsack") == [[3, 3, 3]]


def test_random_gives_each_to_one_that_is_large_enough() -> None:
    found = spread([8, 1, 1, 1], [2, 8], "random")
    assert 8 in found[1] and sorted(found[0] + found[1]) == [1, 1, 1, 8]


@pytest.mark.parametrize("how", ["random", "multi_knapsack"])
def test_a_job_that_fits_nowhere_is_said(how: str) -> None:
    with pytest.raises(CloudRunError, match="a job wants 8 CPUs, and no instance has more than 4"):
        spread([8], [4, 2], how)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("run.py", "a/in.dat", "b/in.dat", "a/x", "two words.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def job(folder: Path, **over: Any) -> Any:
    given = {**dict.fromkeys(JOB), "run_script": "run.py", **over}
    config = words.read({**SEED, "environments": [], "jobs": [given]})["jobs"][0]
    made = CloudRunJob(config, runs.hash_of(config, None, folder, set()), 1)
    made.set_instance(CloudRunInstance({"region": None}, "i"))
    deployed = made.deploy(None)
    deployed.set_command(runs.command(config, folder))
    return deployed


def test_jobs_whose_files_clash_are_not_together_and_each_has_its_own_outputs(folder: Path) -> None:
    jobs = [job(folder, input_file="a/in.dat", output_file="o"), job(folder, input_file="b/in.dat", cpus_req=2),
            job(folder, upload_files=["a/x"], run_command="cat x | sort", run_script=None)]  # fmt: skip
    made = runs.grouped(jobs[0].get_instance(), jobs, folder)
    assert [run.jobs for run in made] == [[jobs[0], jobs[2]], [jobs[1]]]
    assert made[0].inputs == {"in.dat": str(folder / "a/in.dat"), "x": str(folder / "a/x")}
    assert runs.files_of(made[0])["outputs"] == ("o",)
    told = [json.loads(task.options or b"") for task in runs.tasks(made[0])]
    assert [one["outputs"] for one in told] == [["o"], []]
    assert [one["command"] for one in told] == [["", "run.py"], ["sh", "-c", "cat x | sort"]]
    assert json.loads(runs.tasks(made[1])[0].options or b"")["cpus"] == 2


def test_a_hash_is_of_words_and_of_the_bytes_of_files(folder: Path) -> None:
    first = job(folder, upload_files=["a/x"]).get_hash()
    assert job(folder, upload_files=["a/x"]).get_hash() == first
    (folder / "a/x").write_text("other")
    second = job(folder, upload_files=["a/x"]).get_hash()
    (folder / "run.py").write_text("other")
    assert len({first, second, job(folder, upload_files=["a/x"]).get_hash(), job(folder).get_hash()}) == 4
    seen: set[str] = set()
    config = job(folder)._config
    twice = [runs.hash_of(config, None, folder, seen) for _ in range(2)]
    assert twice[1] == f"{twice[0]}-2"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"run_script": "rnu.py"}, "there is no script rnu.py"),
        ({"upload_files": ["no.txt"]}, "there is no file no.txt to upload"),
        ({"upload_files": ["a/in.dat", "b/in.dat"]}, "would both be called in.dat"),
        ({"run_script": "run.py | tee x"}, "'|' is for a shell"),
    ],
)
def test_a_job_whose_files_are_not_there_is_said(folder: Path, over: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        job(folder, **over)
    assert said in raised.value.message


def test_the_file_of_a_demo_is_read_as_python(folder: Path) -> None:
    (folder / "config.py").write_text("config = {'debug': 1 + 1}\n")
    assert command.configuration(folder / "config.py") == {"debug": 2}
    with pytest.raises(CloudRunError, match="has no `config`"):
        command.configuration(folder / "run.py") if (folder / "run.py").write_text("x = 1\n") else None
    with pytest.raises(CloudRunError, match="there is no file"):
        command.configuration(folder / "nothing.py")
