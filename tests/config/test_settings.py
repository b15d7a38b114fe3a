"""Settings: which files hold, who wins, where each value comes from, and what is said of mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest

from elsewhere.config import load, schemas, settings, show
from elsewhere.config.secret import Secret, is_reference, revealed
from elsewhere.errors import ConfigError, UnknownPlace
from elsewhere.model.resources import Resources
from elsewhere.model.task import RetryPolicy

FULL = """\
default:
  retries: 2
  timeout: 1m
  memory: 2GiB
  max-failures: 5%
  env: {A: b, N: "1"}
profiles:
  default: {grace: 1s}
  careful: {slots: 1, retries: {retries: 5, delay: 2s}, resources: {cpus: 2}}
places:
  default: {limits: {machines: 3}}
  hpc: {backend: slurm, partition: gpu, limits: {budget: 5}}
  local: {}
environments:
  base: {pip: [numpy]}
jobs:
  words:
    tasks: tasks.json
    entry: words.py:count
    profile: careful
    slots: 7
    machine: large
"""


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ELSEWHERE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "project"
    (path / ".git").mkdir(parents=True)
    return path


def user_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "home" / ".config" / "elsewhere"
    path.mkdir(parents=True)
    (path / "elsewhere.yaml").write_text(text)


def test_without_a_file_or_a_variable_nothing_is_set_and_nothing_heavy_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from elsewhere.config import load; found = load.current(); assert not found.files\n"
        "print(sorted({'yaml', 'pydantic', 'ruamel', 'msgspec', 'tomllib', 'platformdirs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert load.current(tmp_path).spec() == {}


def test_a_file_sets_the_fields_of_a_job(project: Path) -> None:
    (project / "elsewhere.yaml").write_text(FULL)
    found = load.current(project)
    assert found.spec() == {
        "retry": RetryPolicy(retries=2), "timeout": timedelta(minutes=1), "resources": Resources(memory=2 << 30),
        "max_failures": Decimal("0.05"), "env": {"A": "b", "N": "1"},
    }  # fmt: skip
    assert found.options() == {
        "retries": 2, "timeout": timedelta(minutes=1), "memory": 2 << 30, "max_failures": Decimal("0.05"),
        "env": {"A": "b", "N": "1"},
    }  # fmt: skip
    assert found.files == ("elsewhere.yaml",)


def test_a_profile_and_a_job_stand_over_what_is_said_for_all(project: Path) -> None:
    (project / "elsewhere.yaml").write_text(FULL)
    found = load.current(project)
    careful = found.spec("careful")
    assert careful["slots"] == 1
    assert careful["grace"] == timedelta(seconds=1), "`default` inside a section stands under its entries"
    assert careful["retry"] == RetryPolicy(retries=5, delay=timedelta(seconds=2))
    assert careful["resources"] == Resources(cpus=2, memory=2 << 30), "merged deep"
    assert found.spec(job="words")["slots"] == 7, "the job's own keys stand over its profile"
    assert found.spec("careful", "words")["slots"] == 1, "the profile that was asked for stands over the job"
    job = found.job("words")
    assert job.directory == project
    assert job.what == {"tasks": "tasks.json", "entry": "words.py:count", "profile": "careful", "machine": "large"}
    with pytest.raises(UnknownPlace, match="no profile 'carefull'") as caught:
        found.spec("carefull")
    assert "careful" in caught.value.hint
    with pytest.raises(UnknownPlace, match="no job 'wrods'"):
        found.job("wrods")


def test_places_have_a_backend_limits_and_settings(project: Path) -> None:
    (project / "elsewhere.yaml").write_text(FULL)
    places = load.current(project).places()
    assert sorted(places) == ["hpc", "local"]
    assert (places["hpc"].backend, places["local"].backend) == ("slurm", "local")
    assert places["hpc"].settings == {"partition": "gpu"}
    assert (places["hpc"].limits.machines, places["hpc"].limits.budget) == (3, Decimal(5))


def test_who_wins(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own file, elsewhere.yaml, pyproject.toml, the profile, the environment, the call."""
    user_file(tmp_path, "{slots: 1, grace: 1s, timeout: 1s, priority: 1, retries: {losses: 9}}")
    (project / "elsewhere.yaml").write_text("default: {slots: 2, grace: 2s, timeout: 2s, retries: 2}\n")
    (project / "pyproject.toml").write_text(
        "[tool.elsewhere]\nslots = 3\ngrace = '3s'\n[tool.elsewhere.profiles.p]\ngrace=4\n"
    )
    monkeypatch.setenv("ELSEWHERE_SLOTS", "5")
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    found = load.current(below)
    wins = {key: (value, origin.replace(str(project), "P")) for key, value, origin in found.shown("p", {"keep": "1d"})}
    assert wins["slots"] == ("5", "ELSEWHERE_SLOTS")
    assert wins["grace"] == ("4s", "P/pyproject.toml:5") or wins["grace"] == ("4s", "~/project/pyproject.toml:5")
    assert wins["timeout"][1].endswith("elsewhere.yaml:1")
    assert wins["timeout"][0] == "2s"
    assert wins["priority"] == ("1", "~/.config/elsewhere/elsewhere.yaml:1")
    assert wins["retries.retries"][0] == "2"
    assert wins["retries.losses"][0] == "9"
    assert wins["keep"] == ("1d", "call")
    assert wins["isolate"] == ("false", "default")
    monkeypatch.setenv("ELSEWHERE_PROFILE", "p")
    assert load.current(below).spec()["grace"] == timedelta(seconds=4)


def test_the_search_ends_at_a_repository_and_at_home(tmp_path: Path, project: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("slots: 1\n")
    (project / "inner").mkdir()
    assert load.current(project / "inner").files == ()
    (project / ".git").rmdir()
    assert load.current(project / "inner").files == (), "not above the home directory"
    (project.parent / "elsewhere.yml").write_text("slots: 1\n")
    assert load.current(project / "inner").value("slots") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_strangers_file_in_a_directory_for_everybody_is_not_ours(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o1777)
    (shared / "elsewhere.yaml").write_text("python: /tmp/evil\n")
    os.chown(shared / "elsewhere.yaml", 12345, 12345)
    assert load.current(shared / "mine").files == ()
    shared.chmod(0o755)
    assert len(load.current(shared / "mine").files) == 1


FAULTS = [
    ("slots: 0", "1: slots must be 1 or more, not 0"),
    ("slots: four", "1: slots must be a whole number, not the string 'four'"),
    ("\nslotz: 4", "2: unknown key slotz; did you mean 'slots'?"),
    ("default:\n  retires: 1", "2: unknown key default.retires; did you mean 'retries'?"),
    ("timeout: soon", "1: timeout is wrong: 'soon' is not a duration; write for example 30s"),
    ("timeout: 0", "1: timeout must be longer than 0"),
    ("memory: lots", "1: memory is wrong: 'lots' is not a size"),
    ("max_failures: 200%", "1: max_failures is wrong: '200%' is neither a count nor a percentage"),
    ("isolate: yes", "1: isolate must be true or false, not the string 'yes'; write true or false"),
    ("python: 3.12", '1: python must be text, not the number 3.12; write "3.12"'),
    ("env: {A: 1}", '1: env.A must be text, not the number 1; write "1"'),
    ("env: [A]", "1: env must be a mapping, not a list"),
    ("gpus: many:x", "1: gpus must be a count such as 1"),
    ("channel: pip", "1: channel must be one of calls, pipe, spool, not the string 'pip'"),
    ("recycle: often", "1: recycle is wrong: 'often' is not a size"),
    ("retries: -1", "1: retries must be 0 or more"),
    ("retries: {retry: 1}", "1: unknown key retries.retry; did you mean 'retries'?"),
    ("retries: {exit_codes: [300]}", "1: retries.exit_codes must be a list of exit statuses"),
    ("profiles: {a: {jobs: 1}}", "1: unknown key profiles.a.jobs"),
    ("jobs: {a: {command: ls -l}}", "1: jobs.a.command must be a list such as ['ls', '-l']"),
    ("jobs: {a: {task: x}}", "1: unknown key jobs.a.task; did you mean 'tasks'?"),
    ("places: {a: {limits: {budget: lots}}}", "1: places.a.limits.budget must be an amount of dollars"),
    ("places: [a]", "1: places must be a mapping, not a list"),
    ("slots: 1\nslots: 2", "2: the key 'slots' is there twice"),
    ("slots: [", "2: broken YAML (column 1)"),
    ("- a", "1: a settings file is a mapping"),
]


@pytest.mark.parametrize(("text", "said"), FAULTS, ids=[text.strip() for text, _ in FAULTS])
def test_mistakes_are_named_with_their_line_and_the_nearest_right_thing(project: Path, text: str, said: str) -> None:
    (project / "elsewhere.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load.current(project)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith("elsewhere.yaml:" + said), caught.value.faults


def test_all_mistakes_of_all_files_and_variables_come_at_once(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(tmp_path, "slots: 0\n")
    (project / "elsewhere.yaml").write_text("grace: x\njobs: {a: {profile: no, tasks: 1}}\n")
    (project / "pyproject.toml").write_text(
        "[project]\nname = 'x'\n\n[tool.elsewhere.default]\nenv = {A = 1}\nslots = 0\n"
    )
    monkeypatch.setenv("ELSEWHERE_TIMEOUT", "x")
    monkeypatch.setenv("ELSEWHERE_RETIRES", "1")
    monkeypatch.setenv("ELSEWHERE_SOMETHING_ELSE", "not ours to judge")
    with pytest.raises(ConfigError, match="7 faults") as caught:
        load.current(project)
    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "~/.config/elsewhere/elsewhere.yaml:1", "elsewhere.yaml:1", "elsewhere.yaml:2", "pyproject.toml:5",
        "pyproject.toml:6", "ELSEWHERE_RETIRES", "ELSEWHERE_TIMEOUT",
    ]  # fmt: skip


def test_a_broken_toml_file_and_a_wrong_encoding_are_named(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.elsewhere]\nslots = = 4\n")
    (project / "elsewhere.yaml").write_bytes(b"slots: 4\nname: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load.current(project)
    assert caught.value.faults[0] == "elsewhere.yaml:2: is not UTF-8; save the file as UTF-8"
    assert caught.value.faults[1].startswith("pyproject.toml:2: broken TOML")


def test_variables_say_what_files_say(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("ISOLATE", "yes"), ("CPUS", "0.5"), ("MEMORY", "1GiB"), ("RETRIES", "3"), ("ON", "local"),
                       ("MAX_FAILURES", "5%"), ("GRACE", ""), ("TASK_ID", "x"), ("TIMEOUT", "90")):  # fmt: skip
        monkeypatch.setenv(f"ELSEWHERE_{name}", text)
    found = load.current(project)
    assert found.spec() == {
        "isolate": True, "max_failures": Decimal("0.05"), "timeout": timedelta(seconds=90),
        "retry": RetryPolicy(retries=3), "resources": Resources(cpus=0.5, memory=1 << 30),
    }  # fmt: skip
    assert found.value("on") == "local"


def test_an_interpreter_is_seen_from_the_files_directory(project: Path) -> None:
    (project / "elsewhere.yaml").write_text("python: .venv/bin/python\n")
    (project / "deep").mkdir()
    assert load.current(project / "deep").value("python") == str(project / ".venv/bin/python")
    (project / "elsewhere.yaml").write_text("python: python3.12\n")
    assert load.current(project / "deep").value("python") == "python3.12"


def test_secrets_are_references_until_they_are_used(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("file-secret\n")
    key.chmod(0o600)
    monkeypatch.setenv("MY_TOKEN", "env-secret")
    (project / "elsewhere.yaml").write_text(f"env: {{A: 'env:MY_TOKEN', B: 'file:{key}', C: 'file:///x'}}\n")
    found = load.current(project)
    everything = repr(found) + str(found.shown())
    assert "-secret" not in everything
    assert ("env.A", "env:MY_TOKEN", "elsewhere.yaml:1") in found.shown()
    assert found.spec() == {"env": {"C": "file:///x"}, "secrets": {"A": "env:MY_TOKEN", "B": f"file:{key}"}}
    assert revealed(found.spec()["secrets"]) == {"A": "env-secret", "B": "file-secret"}
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        revealed(found.spec()["secrets"])
    with pytest.raises(ConfigError, match="NO_SUCH is not set"):
        Secret("env:NO_SUCH").reveal()
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret("file:/no/such/file").reveal()
    texts = ("env:A", "file:a", "keyring:a/b", "env:", "http://x", "file://x")
    assert [text for text in texts if is_reference(text)] == [
        "env:A", "file:a", "keyring:a/b",
    ]  # fmt: skip


@dataclass(frozen=True)
class Cloud:
    region: str
    machines: int = 1
    lease: timedelta | None = None
    tags: tuple[str, ...] = ()
    kind: Literal["big", "small"] = "big"
    token: Secret | None = None


def test_a_startup_script_is_seen_from_the_directory_of_its_file(project: Path) -> None:
    text = "places: {aws: {startup-script: boot/a.sh}}\njobs: {fit: {tasks: t.json, startup_script: ../b.sh}}\n"
    (project / "elsewhere.yaml").write_text(text)
    (project / "below").mkdir()
    found = load.current(project / "below")
    assert found.places()["aws"].startup_script == str(project / "boot/a.sh")
    assert found.job("fit").what["startup_script"] == str(project.parent / "b.sh")


def test_what_an_agent_is_told_is_no_setting(project: Path) -> None:
    told = {"ELSEWHERE_AGENT_ADDRESS": "sqs:x", "ELSEWHERE_SANDBOX_MACHINE": "i-1"}
    assert load.current(project, told).environ == {}


def test_the_schema_of_a_backend_checks_its_places(project: Path) -> None:
    good = "{backend: cloud, region: eu, machines: 3, lease: 1h, tags: [a], kind: small, token: 'env:T'}"
    (project / "elsewhere.yaml").write_text(f"places: {{a: {good}}}\n")
    found = load.current(project, backends={"cloud": Cloud}).places()["a"].settings
    assert Cloud(**found) == Cloud("eu", 3, timedelta(hours=1), ("a",), "small", Secret("env:T"))  # type: ignore[arg-type]
    bad = "{backend: cloud, regoin: eu, machines: x, lease: x, kind: tiny, token: abc}"
    (project / "elsewhere.yaml").write_text(f"places: {{a: {bad}}}\n")
    with pytest.raises(ConfigError) as caught:
        load.current(project, backends={"cloud": Cloud})
    assert len(caught.value.faults) == 5
    assert "unknown key places.a.regoin; did you mean 'region'?" in caught.value.faults[0]
    assert "abc" not in str(caught.value), "what was written in place of a secret may be one"


def test_check_names_a_profile_that_a_job_wants_and_nobody_defines(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "elsewhere.yaml").write_text("jobs:\n  a:\n    profile: no\n")
    with pytest.raises(ConfigError, match=r"elsewhere.yaml:3: there is no profile 'no'"):
        load.check()
    (project / "elsewhere.yaml").write_text("jobs: {a: {profile: no}}\nprofiles: {no: {slots: 1}}\n")
    assert load.check() == ("elsewhere.yaml",)


def test_recycle_is_a_count_or_a_size(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "elsewhere.yaml").write_text("recycle: 100\nprofiles: {p: {recycle: 1GiB}}\n")
    assert load.current(project).spec() == {"recycle_tasks": 100}
    assert load.current(project).spec("p") == {"recycle_tasks": 100, "recycle_memory": 1 << 30}
    monkeypatch.setenv("ELSEWHERE_RECYCLE", "7")
    assert load.current(project).spec() == {"recycle_tasks": 7}


def test_a_jobs_paths_are_seen_from_the_file_that_says_what_it_runs(project: Path, tmp_path: Path) -> None:
    user_file(tmp_path, "jobs: {a: {about: mine, slots: 2}}")
    (project / "elsewhere.yaml").write_text("jobs: {a: {script: 'echo x'}}")
    found = load.current(project)
    assert found.job("a").directory == project
    assert found.job("a").what == {"about": "mine", "script": "echo x"}
    assert found.spec(job="a") == {"slots": 2}


def test_values_are_shown_as_files_have_them() -> None:
    cases = {"memory": (16 << 30, "16GiB"), "disk": (10**9, "1000000000"), "max_failures": (Decimal("0.05"), "5%"),
             "isolate": (True, "true"), "grace": (timedelta(seconds=90), "1m30s"),
             "exit_codes": ((1, 2), "[1, 2]")}  # fmt: skip
    assert {key: show.written(key, value) for key, (value, _) in cases.items()} == {k: s for k, (_, s) in cases.items()}


def test_the_schemas_in_the_package_are_those_of_the_dataclasses(tmp_path: Path) -> None:
    for path in schemas.write(tmp_path):
        assert path.read_text() == (schemas.DIRECTORY / path.name).read_text(), "run python -m elsewhere.config.schemas"
    text = json.loads((schemas.DIRECTORY / "elsewhere.json").read_text())
    assert set(settings.SECTIONS) <= set(text["properties"])
    assert text["properties"]["default"]["properties"]["slots"]["minimum"] == 1


def test_secrets_are_references_and_a_value_that_is_pasted_there_is_refused(project: Path) -> None:
    (project / "elsewhere.yaml").write_text("default: {env: {A: a}, secrets: {A: 'env:KEPT', B: 'file:~/b'}}\n")
    assert load.current(project).spec() == {"secrets": {"A": "env:KEPT", "B": "file:~/b"}}
    (project / "elsewhere.yaml").write_text("default:\n  secrets:\n    A: hush\n")
    with pytest.raises(ConfigError, match=r"elsewhere.yaml:3: default.secrets.A must be a reference") as caught:
        load.current(project)
    assert "hush" not in str(caught.value)
