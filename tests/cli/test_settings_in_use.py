"""Settings as a user meets them: defaults, profiles, places and jobs of elsewhere.yaml, under what is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cli.command import Ran, Shell
from elsewhere.model.job import JobSpec
from ship.wheels import wheel

WORKER = """
import os, pathlib

def look(x):
    return {"x": x, "directory": pathlib.Path.cwd().name, "mark": os.environ.get("MARK")}

def flaky(x):
    raise ValueError("never")
"""


@pytest.fixture(autouse=True)
def worker(shell: Shell) -> None:
    shell.write("worker.py", WORKER)
    shell.tasks(2)


def spec_of(shell: Shell, ref: str = "@last") -> JobSpec:
    """What the ledger says of a job."""
    code = "import sys; from elsewhere import session; from elsewhere.ledger.tables import spec_to_json\n"
    code += "print(spec_to_json(session.find(sys.argv[1]).open().spec))"
    told = subprocess.run([sys.executable, "-c", code, ref], env=shell.env, capture_output=True, text=True, check=True)
    from elsewhere.ledger.tables import spec_from_json

    return spec_from_json(told.stdout)


def run(shell: Shell, *words: str, env: dict[str, str] | None = None) -> JobSpec:
    """The job that a command made, which went well."""
    ran = shell("run", *words, "--quiet", "--", "true", env=env)
    assert ran.status == 0, ran.err
    return spec_of(shell)


def rows(ran: Ran) -> dict[str, dict[str, str]]:
    return {row["key"]: row for row in ran.json()}


# --- the order ------------------------------------------------------------------------------------------------------


def test_each_source_stands_over_the_one_before_and_what_it_does_not_say_stays(shell: Shell) -> None:
    own = shell.directory.parent / ".config" / "elsewhere"
    own.mkdir(parents=True)
    (own / "elsewhere.yaml").write_text("default: {priority: 1, timeout: 1m, grace: 1s, max-failures: 9}\n")
    shell.write("elsewhere.yaml", "default: {priority: 2, timeout: 2m, grace: 2s}\nprofiles: {warm: {timeout: 4m}}\n")

    spec = run(shell, "--priority", "5", "--profile", "warm", env={"ELSEWHERE_GRACE": "3s"})

    assert (spec.max_failures, spec.grace) == (9, timedelta(seconds=3))
    assert (spec.timeout, spec.priority) == (timedelta(minutes=4), 5)


def test_a_setting_is_found_from_a_directory_below(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  priority: 7\n")
    shell.directory = shell.directory / "below" / "it"
    shell.directory.mkdir(parents=True)

    assert run(shell).priority == 7


def test_retries_typed_keep_the_rest_of_the_policy(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  retries: {retries: 2, delay: 20ms}\n")

    policy = run(shell, "--retries", "4").retry

    assert (policy.retries, policy.delay) == (4, timedelta(milliseconds=20))


def test_variables_of_settings_reach_the_task_and_those_typed_win(shell: Shell) -> None:
    shell.write("elsewhere.yaml", 'default:\n  env: {MARK: file, OTHER: "1"}\n')

    ran = shell("run", "--env", "MARK=typed", "--", "sh", "-c", "echo $MARK $OTHER")

    assert (ran.status, ran.out) == (0, "typed 1\n")


def test_a_program_is_looked_for_in_the_path_that_the_settings_give(shell: Shell) -> None:
    tools = shell.directory / "tools"
    tools.mkdir()
    (tools / "greet").write_text("#!/bin/sh\necho hello\n")
    (tools / "greet").chmod(0o755)
    shell.write("elsewhere.yaml", f"default:\n  env: {{PATH: '{tools}:/usr/bin:/bin'}}\n")

    assert shell("run", "--", "greet").out == "hello\n"


def test_a_secret_reaches_the_task_and_no_file_of_the_job(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  env: {TOKEN: 'env:MY_TOKEN'}\n")

    ran = shell("run", "--", "sh", "-c", "printf %s $TOKEN | wc -c", env={"MY_TOKEN": "hush-hush-hush"})

    assert (ran.status, ran.out.strip()) == (0, "14"), ran.err
    assert not [path for path in shell.home.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]
    shown = rows(shell("config", "--json", env={"MY_TOKEN": "hush-hush-hush"}))
    assert shown["env.TOKEN"]["value"] == "env:MY_TOKEN"


def test_a_secret_that_is_not_there_is_said_before_anything_is_made_and_one_typed_needs_none(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  env: {TOKEN: 'env:MY_TOKEN'}\n")

    ran = shell("run", "tasks.jsonl", "--entry", "worker:look")

    assert (ran.status, "MY_TOKEN is not set" in ran.err) == (2, True), ran.err
    assert shell("jobs", "--json").json() == []
    assert shell("run", "--env", "TOKEN=mine", "--", "sh", "-c", "echo $TOKEN").out == "mine\n"


KEYRING = """
import os
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Kept(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        if "LOCKED" in os.environ:
            raise KeyringLocked("it is locked")
        return "hush-hush-hush" if (service, username) == ("my db", "me") else None

    def set_password(self, service, username, password):
        raise NotImplementedError
"""


def test_a_secret_of_the_keyring_reaches_the_task_and_no_file_of_the_job(shell: Shell) -> None:
    shell.write("kept.py", KEYRING)
    env = {"PYTHONPATH": str(shell.directory), "PYTHON_KEYRING_BACKEND": "kept.Kept"}
    shell.write("elsewhere.yaml", "default:\n  env: {TOKEN: 'keyring:my db/me'}\n")
    shell.write("checks.py", "import os\n\ndef size(x):\n    return len(os.environ['TOKEN'])\n")
    shell.tasks(1)

    ran = shell("run", "--", "sh", "-c", "printf %s $TOKEN | wc -c", env=env)

    assert (ran.status, ran.out.strip()) == (0, "14"), ran.err
    ran = shell("run", "tasks.jsonl", "--entry", "checks:size", "--results", "out.jsonl", env=env)
    assert (ran.status, '"result": 14' in (shell.directory / "out.jsonl").read_text()) == (0, True), ran.err
    assert not [path for path in shell.home.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]
    assert rows(shell("config", "--json", env=env))["env.TOKEN"]["value"] == "keyring:my db/me"


@pytest.mark.parametrize(
    ("reference", "extra", "said"),
    [
        ("my db/you", {}, ("is not in the keyring", "keyring set 'my db' you")),
        ("my db", {}, ("has no name", "keyring:service/name")),
        ("my db/me", {"LOCKED": "1"}, ("cannot be read: it is locked", "keyring diagnose")),
        (
            "my db/me",
            {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
            ("cannot be read", "env:NAME and file:"),
        ),
        ("my db/me", {"PYTHON_KEYRING_BACKEND": "absent.Kept"}, ("cannot be read: No module named 'absent'",)),
        ("my db/me", {"PYTHONPATH": "none"}, ("needs the package keyring", "-m pip install keyring")),
    ],
)
def test_a_keyring_that_does_not_answer_is_said_before_anything_is_made(
    shell: Shell, reference: str, extra: dict[str, str], said: tuple[str, ...]
) -> None:
    shell.write("kept.py", KEYRING)
    (shell.directory / "none").mkdir()
    shell.write("none/keyring.py", "raise ModuleNotFoundError(\"No module named 'keyring'\", name='keyring')\n")
    env = {"PYTHONPATH": str(shell.directory), "PYTHON_KEYRING_BACKEND": "kept.Kept", **extra}
    shell.write("elsewhere.yaml", f"default:\n  env: {{TOKEN: 'keyring:{reference}'}}\n")

    ran = shell("run", "tasks.jsonl", "--entry", "worker:look", env=env)

    assert ran.status == 2, ran.err
    assert all(part in ran.err for part in said), ran.err
    assert "Traceback" not in ran.err
    assert shell("jobs", "--json").json() == []


# --- names ----------------------------------------------------------------------------------------------------------


def test_names_that_are_not_there_are_errors_with_the_nearest_and_nothing_runs(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "profiles: {careful: {slots: 1}}\nplaces: {near: {backend: local}}\n"
                "jobs: {fit: {command: ['true']}}\n")  # fmt: skip

    for words, near in (
        (("tasks.jsonl", "--entry", "worker:look", "--profile", "careflu"), "careful"),
        (("tasks.jsonl", "--entry", "worker:look", "--on", "naer"), "near"),
        (("fti",), "'fti' is neither a task list nor a job of elsewhere.yaml; did you mean fit?"),
    ):
        ran = shell("run", *words)
        assert (ran.status, near in ran.err) == (2, True), ran.err
    assert shell("jobs", "--json").json() == []


def test_a_place_of_the_settings_is_listed_checked_and_run_on(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "places:\n  near: {backend: local}\ndefault: {on: near}\n")

    assert {row["name"]: row["backend"] for row in shell("places", "--json").json()}["near"] == "local"
    assert shell("places", "check", "near").status == 0
    spec = run(shell)
    assert (spec.place, spec.backend) == ("near", "local")


def test_a_place_of_the_settings_gives_its_backend_its_own_settings(shell: Shell) -> None:
    records = shell.directory / "records"
    shell.write("elsewhere.yaml", f"places:\n  near: {{backend: local, directory: '{records}'}}\n")

    ran = shell("run", "--on", "near", "--channel", "pipe", "--", "touch", "there")

    assert ran.status == 0, ran.err
    assert (shell.directory / "there").exists()
    assert list(records.iterdir())


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_of_the_settings_runs_in_the_directory_of_its_file(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default: {env: {MARK: a}}\njobs:\n  fit:\n    tasks: tasks.jsonl\n"
                "    entry: worker.py:look\n    env: {MARK: b}\n    slots: 1\n")  # fmt: skip
    shell.directory = shell.directory / "below"
    shell.directory.mkdir()

    ran = shell("run", "fit", "--results", "out.jsonl")

    assert ran.status == 0, ran.err
    results = [json.loads(line)["result"] for line in (shell.directory / "out.jsonl").read_text().splitlines()]
    assert results == [{"x": k, "directory": "work", "mark": "b"} for k in (1, 2)]
    assert spec_of(shell, "fit").slots == 1


def test_what_is_typed_wins_over_the_job(shell: Shell) -> None:
    shell.write(
        "elsewhere.yaml", "jobs:\n  fit: {tasks: tasks.jsonl, entry: worker.py:look, priority: 1, retries: 1}\n"
    )

    ran = shell("run", "fit", "--entry", "worker.py:flaky", "--retries", "0", "--name", "other", "--quiet")

    assert ran.status == 1
    spec = spec_of(shell, "other")
    assert (spec.retry.retries, spec.priority, spec.entry.name) == (0, 1, "flaky")


def test_a_job_may_be_a_command_with_its_own_output_and_status(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "jobs:\n  say: {command: [sh, -c, 'echo said; exit 3']}\n")

    ran = shell("run", "say")

    assert (ran.status, ran.out) == (3, "said\n")


def test_a_job_s_script_stops_at_the_first_command_that_fails(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "jobs:\n  steps:\n    script: |\n      echo one\n      false\n      echo two\n")

    ran = shell("run", "steps")

    assert (ran.status, ran.out) == (1, "one\n"), ran.err


def test_a_job_may_be_a_command_for_each_line(shell: Shell) -> None:
    shell.write("names.txt", "ann\nbob\n")
    shell.write("elsewhere.yaml", "jobs:\n  greet: {each-line: names.txt, command: [echo, 'hello {}']}\n")

    assert shell("run", "greet", "--quiet").status == 0
    assert "hello bob" in shell("logs", "greet/line-2").out


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("{command: ['true'], needs: x}", "needs, which this version cannot do yet"),
        ("{tasks: tasks.jsonl, entry: 'worker:look', inputs: [taks.jsonl]}", "there is no input taks.jsonl"),
        ("{tasks: tasks.jsonl, entry: 'worker:look', outputs: [../x]}", "leads out of the task's directory"),
        ("{slots: 2}", "says not what to run"),
        ("{tasks: tasks.jsonl, command: ['true']}", "has tasks and command"),
        ("{tasks: tasks.jsonl}", "needs an entry function"),
    ],
)
def test_a_job_that_cannot_be_run_says_why_and_nothing_starts(shell: Shell, job: str, said: str) -> None:
    shell.write("elsewhere.yaml", f"jobs:\n  fit: {job}\n")

    ran = shell("run", "fit")

    assert (ran.status, said in ran.err) == (2, True), ran.err
    assert shell("jobs", "--json").json() == []


def test_the_project_that_init_writes_has_a_job_and_a_profile_that_work(shell: Shell) -> None:
    told = shell("init", "first")
    shell.directory = shell.directory / "first"
    file = shell.directory / "elsewhere.yaml"
    file.write_text(file.read_text().replace("# profiles", "profiles").replace("#   ", "   "))

    assert "elsewhere run words" in told.err
    assert shell("config", "check").status == 0
    assert shell("run", "words", "--profile", "careful", "--retries", "0", "--quiet").status == 1
    assert spec_of(shell, "words").slots == 1
    assert shell("results", "words", "--failed").out.count("\n") == 1


# --- looking --------------------------------------------------------------------------------------------------------


def test_config_show_names_the_line_the_variable_and_the_default(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  timeout: 30s\nprofiles:\n  warm:\n    slots: 3\n")

    found = rows(shell("config", "show", "--profile", "warm", "--json", env={"ELSEWHERE_PRIORITY": "4"}))

    assert (found["timeout"]["value"], found["timeout"]["source"]) == ("30s", "elsewhere.yaml:2")
    assert (found["slots"]["value"], found["slots"]["source"]) == ("3", "elsewhere.yaml:5")
    assert (found["priority"]["value"], found["priority"]["source"]) == ("4", "ELSEWHERE_PRIORITY")
    assert found["grace"]["source"] == "default"


def test_every_fault_of_every_file_is_named_at_once_and_nothing_runs(shell: Shell) -> None:
    own = shell.directory.parent / ".config" / "elsewhere"
    own.mkdir(parents=True)
    (own / "elsewhere.yaml").write_text("default:\n  slots: many\n")
    shell.write("elsewhere.yaml", "default:\n  timeout: soon\nplaces:\n  near:\n    backend: local\n    direktory: x\n")

    checked = shell("config", "check", env={"ELSEWHERE_RETRIES": "lots"})

    assert checked.status == 2
    for said in ("elsewhere.yaml:2", "elsewhere.yaml:6", "'directory'", "~/.config/elsewhere/elsewhere.yaml:2",
                 "ELSEWHERE_RETRIES"):  # fmt: skip
        assert said in checked.err, checked.err
    assert shell("run", "tasks.jsonl", "--entry", "worker:look").status == 2
    assert shell("run", "--", "true").status == 125  # not the command's own
    assert shell("jobs", "--json").json() == []


def test_check_names_places_backends_and_profiles_that_are_not_there(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "profiles: {warm: {on: naer}}\nplaces:\n  near: {backend: local}\n"
                "  far: {backend: lokal}\njobs:\n  fit: {command: [ls], profile: wram}\n"
                "default: {slotz: 2}\n")  # fmt: skip

    checked = shell("config", "check", env={"ELSEWHERE_ON": "nowhere"})

    assert checked.status == 2
    for said in ("elsewhere.yaml:1: there is no place 'naer'; did you mean 'near'?",
                 "elsewhere.yaml:4: places.far: there is no backend 'lokal'; did you mean 'local'?",
                 "elsewhere.yaml:6: there is no profile 'wram'; did you mean 'warm'?",
                 "elsewhere.yaml:7: unknown key default.slotz; did you mean 'slots'?",
                 "ELSEWHERE_ON: there is no place 'nowhere'"):  # fmt: skip
        assert said in checked.err, checked.err


def test_clean_takes_the_most_that_jobs_may_take_from_the_settings(shell: Shell) -> None:
    assert shell("run", "--quiet", "--", "true").status == 0
    assert shell("clean", "--dry-run", "--json").json()["would_remove"] == []
    shell.write("elsewhere.yaml", "default: {max-state: 1KiB}\n")

    assert len(shell("clean", "--dry-run", "--json").json()["would_remove"]) == 1


def test_looking_at_jobs_does_not_need_good_settings(shell: Shell) -> None:
    run(shell)
    shell.write("elsewhere.yaml", "default: [\n")

    assert shell("status").status == 0
    assert shell("jobs").status == 0
    assert shell("--help").status == 0


# --- what is loaded -------------------------------------------------------------------------------------------------

HEAVY = ("yaml", "ruamel.yaml", "pydantic", "tomllib")


def loaded(shell: Shell, *words: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = "import sys; from elsewhere.__main__ import main\nmain(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=shell.directory, env=shell.env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.split())


def test_without_a_settings_file_no_reader_of_one_is_loaded(shell: Shell) -> None:
    assert not loaded(shell, "run", "--quiet", "--", "true") & {*HEAVY, "elsewhere.config.shape"}


def test_looking_never_loads_the_settings_even_where_there_are_some(shell: Shell) -> None:
    run(shell)
    shell.write("elsewhere.yaml", "default: {slots: 1}\n")

    for words in (("status",), ("jobs",), ("--help",)):
        assert not loaded(shell, *words) & {*HEAVY, "elsewhere.config.load"}


def test_a_file_of_your_own_gives_jobs_that_run_where_you_are(shell: Shell) -> None:
    own = shell.directory.parent / ".config" / "elsewhere"
    own.mkdir(parents=True)
    (own / "elsewhere.yaml").write_text("jobs:\n  where: {command: [pwd]}\n")

    assert Path(shell("run", "where").out.strip()) == shell.directory.resolve()


# --- secrets --------------------------------------------------------------------------------------------------------


def test_a_secret_that_is_typed_reaches_the_task_and_wins_over_the_settings(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default: {env: {TOKEN: plain}, secrets: {OTHER: 'env:KEPT'}}\n")
    code = "import os; assert os.environ['TOKEN'] + os.environ['OTHER'] == 'sesamehush'"
    words = ("--secret", "TOKEN", "--", sys.executable, "-c", code)

    ran = shell("run", *words, env={"TOKEN": "sesame", "KEPT": "hush"})

    assert ran.status == 0, ran.err
    assert spec_of(shell).secrets == {"TOKEN": "env:TOKEN", "OTHER": "env:KEPT"}
    assert "TOKEN" not in spec_of(shell).env


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--secret", "TOKEN=hush"), "wants a reference"),
        (("--secret", "=env:A"), "the name of a variable comes first"),
        (("--secret", "TOKEN", "--env", "TOKEN=a"), "one too many"),
        (("--secret", "NOT_SET"), "NOT_SET is not set"),
        (("--secret", "TOKEN=file:/no/such"), "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_had_makes_nothing(shell: Shell, words: tuple[str, ...], said: str) -> None:
    ran = shell("run", "tasks.jsonl", "--entry", "worker:look", *words)

    assert (ran.status, said in ran.err, "hush" in ran.err) == (2, True, False), ran.err
    assert not list(shell.home.glob("jobs/*"))


# --- environments before anything is made ---------------------------------------------------------------------------


def test_a_plan_resolves_the_environment_and_builds_nothing(shell: Shell) -> None:
    folder = shell.directory / "wheels"
    folder.mkdir()
    wheel(folder, "alpha", "1.0", "VALUE = 1\n")
    shell.env |= {"UV_FIND_LINKS": str(folder), "UV_NO_INDEX": "1"}
    shell.write("elsewhere.yaml", "environments:\n  good: {pip: [alpha]}\n  bad: {pip: [alpha, 'no-such-thing>=2']}\n")

    good = shell("plan", "--environment", "good", "--", "true")
    bad = shell("plan", "--environment", "bad", "--", "true")
    listed = shell("run", "tasks.jsonl", "--entry", "worker:look", "--environment", "bad")

    assert good.status == 0 and "the environment resolves: 1 package for Python 3." in good.out, good.err
    for ran in (bad, listed):
        assert ran.status == 2 and "no-such-thing" in ran.err and "cannot be resolved for Python" in ran.err, ran.err
    assert shell("plan", "--secret", "NOT_SET", "--", "true").status == 2
    assert not (shell.home / "environments").exists() and not list(shell.home.glob("jobs/*"))


def test_a_secret_that_is_printed_is_not_shown_and_is_in_no_record(shell: Shell) -> None:
    shell.write(
        "work.py",
        "import os, sys\ndef f():\n    print('have', os.environ['TOKEN'])\n"
        "    print('said', os.environ['TOKEN'], file=sys.stderr)\n    raise ValueError(os.environ['TOKEN'])\n",
    )
    shell.write("tasks.jsonl", '{"task_id": "a", "data": {}}\n')
    env = {"TOKEN": "hush-hush-4711"}
    assert shell("run", "tasks.jsonl", "--entry", "work:f", "--secret", "TOKEN", env=env).status == 1
    shown = shell("logs", "@last/a", env=env)
    assert f"have {'*' * 14}\n" in shown.out and f"said {'*' * 14}\n" in shown.out + shown.err
    told = shell("results", "--failed", env=env).out
    assert "*" * 14 in told and "hush" not in told
    for path in shell.home.rglob("*"):
        if path.is_file() and path.suffix not in (".out", ".err"):
            assert b"hush-hush" not in path.read_bytes(), path
