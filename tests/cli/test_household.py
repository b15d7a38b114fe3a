"""The commands that look after the house: init, doctor, key, completion, places, config, demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cli.command import Shell
from elsewhere.cli import clean, completion, doctor, surroundings
from elsewhere.cli.table import COMMANDS

# --- init and demo --------------------------------------------------------------------------------------------------


def test_init_writes_a_project_that_runs_as_it_stands(shell: Shell) -> None:
    assert shell("init", "first").status == 0
    shell.directory = shell.directory / "first"

    ran = shell("run", "tasks.json", "--entry", "my_worker.py:process_task", "--name", "words")

    assert ran.status == 1, ran.err
    assert "2 of 3 done, 1 failed" in ran.err
    rows = {row["task_id"]: row for row in shell("results", "words").lines()}
    assert rows["poem"]["result"] == {"words": 6, "longest": "elsewhere"}
    assert "there are no words in this text" in rows["empty"]["error"]["reason"]


def test_init_overwrites_nothing(shell: Shell) -> None:
    mine = shell.write("my_worker.py", "mine")

    ran = shell("init")

    assert ran.status == 2
    assert "my_worker.py" in ran.err
    assert mine.read_text() == "mine"
    assert [path.name for path in shell.directory.iterdir()] == ["my_worker.py"]


def test_demo_shows_a_result_and_leaves_nothing(shell: Shell) -> None:
    ran = shell("demo", "--slots", "2")

    assert ran.status == 0, ran.err
    assert "MODULE" in ran.out
    assert "failed, on purpose: missing: FileNotFoundError" in ran.out
    assert shell("jobs", "--json").json() == []


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_finds_this_machine_well(shell: Shell) -> None:
    ran = shell("doctor", "--json")

    found = {row["what"]: row for row in ran.json()}
    assert ran.status == 0, ran.out
    assert found["state directory"]["detail"].startswith(str(shell.home))
    assert found["sqlite"]["ok"]
    assert found["tasks' python"]["ok"]
    assert "none yet" in found["signing key"]["detail"]


def test_doctor_says_what_is_wrong_and_what_to_do(shell: Shell) -> None:
    shell("key")
    (shell.home / "key").chmod(0o644)

    ran = shell("doctor")

    assert ran.status == 1
    assert "BAD   signing key" in ran.out
    assert f"chmod 600 {shell.home / 'key'}" in ran.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets a directory of somebody else's that it could write")
def test_doctor_survives_a_state_directory_that_is_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    ran = shell("doctor", env={"ELSEWHERE_HOME": str(tmp_path / "file")})

    assert ran.status == 1
    assert "is not a directory" in ran.out


def test_findings_are_lines_with_their_hints() -> None:
    found = [doctor.Finding("a", True, "fine", "unseen"), doctor.Finding("bcd", None, "so so", "look here")]

    assert doctor.lines(found) == ["ok    a    fine", "look  bcd  so so", "           look here"]


# --- clean ----------------------------------------------------------------------------------------------------------


def job(name: str, ago: int, size: int, over: bool = True) -> dict[str, object]:
    return {"id": name, "over": over, "seconds_ago": ago, "keep": 100, "bytes": size}


def test_only_what_is_over_and_past_its_time_goes() -> None:
    rows = [job("new", 10, 1), job("old", 200, 1), job("older", 300, 1), job("running", 900, 1, over=False)]

    assert [row["id"] for row in clean.chosen(rows, None, None)] == ["older", "old"]
    assert [row["id"] for row in clean.chosen(rows, timedelta(seconds=5), None)] == ["older", "old", "new"]


def test_beyond_the_size_the_oldest_go_first() -> None:
    rows = [job("c", 10, 50), job("b", 20, 50), job("a", 30, 50), job("running", 900, 50, over=False)]

    assert [row["id"] for row in clean.chosen(rows, None, 120)] == ["a", "b"]
    assert clean.chosen(rows, None, 1000) == []


# --- slots ----------------------------------------------------------------------------------------------------------


def test_the_cpu_quota_of_a_control_group_counts(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/user/session\n")
    (tmp_path / "root" / "user" / "session").mkdir(parents=True)
    (tmp_path / "root" / "user" / "session" / "cpu.max").write_text("max 100000\n")
    (tmp_path / "root" / "user" / "cpu.max").write_text("150000 100000\n")

    assert surroundings.cgroup_cpus(tmp_path / "root", tmp_path / "own") == 1.5


def test_no_quota_is_none(tmp_path: Path) -> None:
    assert surroundings.cgroup_cpus(tmp_path / "root", tmp_path / "own") is None


def test_a_login_node_is_one_that_submits_jobs_and_is_in_none(tmp_path: Path) -> None:
    tool = tmp_path / "sbatch"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    assert surroundings.is_login_node({"PATH": str(tmp_path)})
    assert not surroundings.is_login_node({"PATH": str(tmp_path), "SLURM_JOB_ID": "7"})
    assert not surroundings.is_login_node({"PATH": str(tmp_path / "empty")})


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_key_is_made_at_first_use_and_travels(shell: Shell, tmp_path: Path) -> None:
    first = shell("key").out.strip()
    assert (shell.home / "key").stat().st_mode & 0o777 == 0o600
    assert shell("key").out.strip() == first

    exported = shell("key", "export", "mine.pem")
    assert exported.status == 0
    assert (shell.directory / "mine.pem").stat().st_mode & 0o777 == 0o600
    assert shell("key", "export", "mine.pem").status == 2

    second = shell("key", "rotate").out.strip()
    assert second != first
    assert shell("key", "import", "mine.pem").status == 2
    assert shell("key", "import", "mine.pem", "--yes").status == 0
    assert shell("key").out.strip() == first


def test_a_wrong_key_is_refused(shell: Shell) -> None:
    shell.write("bad.pem", b"\xff\xfe")
    shell.write("other.pem", "hello")

    assert shell("key", "import", "bad.pem").status == 2
    assert shell("key", "import", "other.pem").status == 2
    assert "cannot 'exprot'; did you mean export?" in shell("key", "exprot").err


# --- places and settings --------------------------------------------------------------------------------------------


def test_places_lists_local_and_checks_it(shell: Shell) -> None:
    assert "local" in [row["name"] for row in shell("places", "--json").json()]
    checked = shell("places", "check", "local", "--json")
    assert (checked.status, all(row["ok"] for row in checked.json())) == (0, True)
    assert "did you mean local?" in shell("places", "check", "locl").err


def test_settings_are_shown_with_where_they_come_from(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  retries: 2\n")

    rows = {row["key"]: row for row in shell("config", "--json").json()}

    assert any(key.endswith("retries") and "elsewhere.yaml" in row["source"] for key, row in rows.items()), rows
    assert shell("config", "check").status == 0


def test_mistakes_of_a_settings_file_are_named_with_their_lines(shell: Shell) -> None:
    shell.write("elsewhere.yaml", "default:\n  retrys: 2\n  timeout: soon\n")

    ran = shell("config", "check")

    assert ran.status == 2
    assert "elsewhere.yaml:2" in ran.err
    assert "retries" in ran.err
    assert "elsewhere.yaml:3" in ran.err


# --- completion -----------------------------------------------------------------------------------------------------


@pytest.fixture
def completed(shell: Shell) -> Path:
    text = shell("--show-completion", "bash")
    assert text.status == 0, text.err
    return shell.write("completion.bash", text.out)


def complete(shell: Shell, script: Path, *words: str) -> list[str]:
    code = (
        f'source {script}; elsewhere() {{ {sys.executable} -m elsewhere "$@"; }}; '
        'COMP_WORDS=(elsewhere "$@"); COMP_CWORD=$#; _elsewhere 2>/dev/null; printf \'%s\\n\' "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        ["bash", "-c", code, "bash", *words], capture_output=True, text=True, env=shell.env, check=True
    )
    return ran.stdout.split()


def test_bash_completes_commands_options_values_and_jobs(shell: Shell, completed: Path) -> None:
    shell("run", "--name", "fitting", "--quiet", "--", "true")

    assert complete(shell, completed, "re") == ["results", "resume", "retry", "reap"]
    assert complete(shell, completed, "results", "--fo") == ["--format"]
    assert complete(shell, completed, "results", "--format", "j") == ["jsonl", "json"]
    assert complete(shell, completed, "status", "fi") == ["fitting"]
    assert complete(shell, completed, "results", "--format", "=", "c") == ["csv"]
    assert complete(shell, completed, "key", "ex") == ["export"]
    assert complete(shell, completed, "--inst") == ["--install-completion"]
    assert complete(shell, completed, "--install-completion", "z") == ["zsh"]
    assert complete(shell, completed, "run", "--", "python", "--re") == []


@pytest.mark.needs("fish")
def test_fish_completes_commands_options_values_and_jobs(shell: Shell) -> None:
    shell("run", "--name", "run", "--quiet", "--", "true")
    script = shell.write("completion.fish", shell("--show-completion", "fish").out)
    shell.write("notes.txt", "")

    def offered(line: str) -> list[str]:
        code = f'function elsewhere; {sys.executable} -m elsewhere $argv; end; source {script}; complete -C "{line}"'
        ran = subprocess.run(
            ["fish", "--no-config", "-c", code],
            cwd=shell.directory,
            env=shell.env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stderr == ""
        return [line.split("\t")[0] for line in ran.stdout.splitlines()]

    assert sorted(offered("elsewhere re")) == ["reap", "results", "resume", "retry"]
    assert "--version" in offered("elsewhere --")
    assert offered("elsewhere results --fo") == ["--format"]
    assert offered("elsewhere results --format j") == ["json", "jsonl"]
    assert offered("elsewhere run --timeout ") == []
    assert offered("elsewhere run no") == offered("elsewhere run -- no") == ["notes.txt"]
    assert offered("elsewhere status ")[:2] == ["@last", "run"]
    assert "--raw" in offered("elsewhere logs run --")
    assert "--retries" not in offered("elsewhere logs run --")
    assert offered("elsewhere status --h") == ["--help"]
    assert offered("elsewhere key ex") == ["export"]
    assert sorted(offered("elsewhere --install-completion ")) == sorted(completion.SHELLS)


@pytest.mark.parametrize("name", completion.SHELLS)
def test_every_command_is_in_the_script_of_every_shell(name: str) -> None:
    text = completion.script(name)

    assert all(command in text for command in COMMANDS)
    if shutil.which(name):
        subprocess.run([name, "-n", "-c" if name == "bash" else "/dev/stdin"][:2], input=text, text=True, check=True)


def test_installing_twice_adds_one_line(shell: Shell, tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_text("alias ll='ls -l'")
    env = {"SHELL": "/bin/bash"}

    assert shell("--install-completion", env=env).status == 0
    assert shell("--install-completion", env=env).status == 0

    assert rc.read_text().count("elsewhere completion") == 1
    assert rc.read_text().startswith("alias ll='ls -l'\n")
    assert shell("--install-completion", "tcsh").status == 2


def test_json_is_json(shell: Shell) -> None:
    assert json.loads(shell("clean", "--json").out) == {"removed": [], "bytes": 0, "kept": 0, "environments": []}


def test_inputs_are_found_and_outputs_come_into_a_folder_for_each_task(shell: Shell) -> None:
    (shell.directory.parent / "words.txt").write_text("one two\n")
    shell.write("tasks.jsonl", '{"task_id": "a", "command": ["sh", "-c", "wc -w <words.txt >count"]}\n'
                               '{"task_id": "b/c", "command": ["cp", "words.txt", "count"]}\n')  # fmt: skip
    assert shell("run", "tasks.jsonl", "--output", "count", "--quiet").status == 1, "there is no words.txt"
    ran = shell("run", "tasks.jsonl", "--input", "../words.txt", "--output", "count", "--quiet", "--name", "good")
    assert ran.status == 0, ran.err
    ran = shell("results", "good", "--files", "-o", "out")
    assert (ran.status, ran.err.strip()) == (0, "2 files of 2 tasks in out/good")
    folders = sorted(path.name for path in (shell.directory / "out" / "good").iterdir())
    assert folders[1] == "a" and len(folders) == 2
    assert (shell.directory / "out" / "good" / "a" / "count").read_text().strip() == "2"
    assert (shell.directory / "out" / "good" / folders[0] / "count").read_text() == "one two\n"
    assert [line.split("  ")[0] for line in shell("results", "good", "--files").out.splitlines()] == ["a", "b/c"]


def test_an_input_that_is_not_there_stops_it_before_anything_is_made(shell: Shell) -> None:
    shell.write("words.jsonl", '{"task_id": "a", "command": ["true"]}\n')
    ran = shell("run", "words.jsonl", "--input", "wodrs.jsonl")
    assert (ran.status, "there is no input wodrs.jsonl; did you mean words.jsonl?" in ran.err) == (2, True), ran.err
    assert shell("jobs", "--json").json() == []
