"""The boot text of a user's own startup script: a golden file, and what it does when it is run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from elsewhere.agent import failing
from elsewhere.backends.aws.ground import ground
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources
from elsewhere.ship import startup
from elsewhere.ship.script import Archive, Bare, BootText, Startup, render

GOLDEN = Path(__file__).with_name("golden") / "startup.sh"
AWS = ground("us-east-1", "my bucket's", "elsewhere/")
ARCHIVES = (Archive("bundles/aa.tar.gz", "aa", "runtime"), Archive("jobs/job-1/startup.tar.gz", "bb", "startup"))
TEXT = BootText(
    "sqs:us-east-1?job=job-1&it's",
    ".elsewhere/job-1",
    "",
    timedelta(hours=12),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    slots=4,
    end=AWS.end,
    bare=Bare(AWS.name, AWS.fetch, "3.12", ARCHIVES),
    startup=Startup(ARCHIVES[1], {"RMS_CLOUD_TASKS_JOB_ID": "it's $(mine)"}),
)


def test_the_text_is_the_golden_one_and_a_shell_can_read_it() -> None:
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(render(TEXT))
    assert render(TEXT) == GOLDEN.read_text()
    for shell in ("sh", "bash", "dash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=render(TEXT).encode(), check=True)


def test_the_switch_is_armed_before_anything_else_is_done() -> None:
    first = next(line for line in render(TEXT).splitlines() if not line.startswith("#"))
    assert "left=1200 " in first and first.endswith("& switch=$!")


def archive(folder: Path, name: str, file: str, text: str) -> Archive:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as tar:
        tar.add(folder / file, file)
    digest = hashlib.sha256((folder / f"{name}.tar.gz").read_bytes()).hexdigest()
    return Archive(f"{name}.tar.gz", digest, name)


def boot(tmp_path: Path, script: str) -> tuple[int, str]:
    """Status and output of a machine that boots this script; our agent only prints what it is called with."""
    kept = tmp_path / "kept"
    told = "import sys; print('told', sys.argv[1:2], sys.argv[-4:])"
    archives = (archive(kept, "runtime", "elsewhere/agent.py", told), archive(kept, "startup", "startup.sh", script))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    bare = Bare("ELSEWHERE_MACHINE='i 1'", f'fetch() {{ cp {kept}/"$1" "$2"; }}', python, archives)
    text = replace(TEXT, start_by=datetime.now(UTC) + timedelta(minutes=5), end=f"touch {tmp_path}/ended", bare=bare)
    text = replace(text, startup=replace(TEXT.startup or Startup(archives[1], {}), script=archives[1]))
    (tmp_path / "cwd").mkdir()
    hasty = "sleep() { command sleep 0.1; }\n"  # a machine that failed would wait to be stopped
    done = subprocess.run(
        ["sh", "-c", hasty + render(text)], cwd=tmp_path / "cwd", env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode()


WORKER = 'echo "$$" >"$ELSEWHERE_AGENT_DIRECTORY/worker"; echo "1200 1" >"$ELSEWHERE_AGENT_DIRECTORY/switch"'


def test_the_script_runs_in_its_own_directory_with_all_that_a_worker_must_know(tmp_path: Path) -> None:
    names = ("ADDRESS", "AGENT", "DIRECTORY", "SLOTS", "TERM", "LEASE", "IDLE")
    asks = "; ".join(f'echo "$ELSEWHERE_AGENT_{name}"' for name in names)
    said = f'pwd; umask; {asks}; echo "$RMS_CLOUD_TASKS_JOB_ID"; {WORKER}; exit 3'
    status, printed = boot(tmp_path, said)
    here = tmp_path / ".elsewhere/job-1"
    assert (tmp_path / "ended").exists()
    log = (here / "startup.log").read_text().splitlines()
    assert log == [str(tmp_path / "cwd"), "0022", TEXT.address, "i 1", str(here), "4", "43200", "120", "60",
                   "it's $(mine)"]  # fmt: skip
    assert status == 3
    assert "told" not in printed
    assert not (here / "runtime").exists()


def test_a_script_that_starts_no_worker_has_failed_and_our_agent_says_so(tmp_path: Path) -> None:
    status, printed = boot(tmp_path, "echo installing; no-such-program; exit 9")
    assert status == 9
    assert f"told [{TEXT.address!r}] ['--failed', '9', '--log', 'startup.log']" in printed
    assert "the startup script ended with status 9 and started no worker" in printed
    assert "installing" in (tmp_path / ".elsewhere/job-1/startup.log").read_text()
    assert (tmp_path / "ended").exists()


def test_so_has_one_that_ends_well(tmp_path: Path) -> None:
    status, printed = boot(tmp_path, "true")
    assert status == 70
    assert "['--failed', '0', '--log', 'startup.log']" in printed


def test_a_worker_that_was_left_in_the_background_is_waited_for(tmp_path: Path) -> None:
    late = f"(sleep 1; {WORKER.replace('$$', '$BASHPID')}; sleep 2; touch {tmp_path}/worked) >/dev/null 2>&1 &"
    status, printed = boot(tmp_path, late)
    assert (status, "told" in printed) == (0, False), printed
    assert (tmp_path / "worked").exists()


def test_the_story_ends_with_the_last_lines() -> None:
    told = failing.story(2, "\n".join(f"line {k}" for k in range(30)) + "\n\n")
    first, *lines = told.splitlines()
    assert first == "it ended with status 2 without starting a worker; its last lines:"
    assert (len(lines), lines[-1]) == (failing.LINES, "| line 29")
    assert failing.story(137, "") == "it was ended by signal 9 without starting a worker, and printed nothing"


def test_what_the_seed_exports_is_exported() -> None:
    offer = Offer("c5.large", Resources(2, 4 << 30, disk=20 << 30), "us-east-1a", Decimal("0.085"), True)
    spec = JobSpec("job-1", "mine", Entry("function"), place="aws", timeout=timedelta(minutes=2),
                   worker={"retry_on_exit": True, "retry_on_exception": False, "keepalive_interval": 30})  # fmt: skip
    found = startup.variables(spec, offer, 2)
    assert {name.removeprefix("RMS_CLOUD_TASKS_"): value for name, value in found.items()} == {
        "PROVIDER": "aws", "JOB_ID": "mine", "QUEUE_NAME": "mine", "EVENT_LOG_TO_QUEUE": "1",
        "INSTANCE_TYPE": "c5.large", "INSTANCE_NUM_VCPUS": "2", "INSTANCE_MEM_GB": "4", "INSTANCE_BOOT_DISK_GB": "20",
        "INSTANCE_IS_SPOT": "1", "INSTANCE_PRICE": "0.085", "NUM_TASKS_PER_INSTANCE": "2", "MAX_RUNTIME": "120",
        "RETRY_ON_EXIT": "1", "RETRY_ON_EXCEPTION": "0", "KEEPALIVE_INTERVAL": "30",
    }  # fmt: skip
