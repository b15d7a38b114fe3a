"""The boot text: golden files that a reviewer can read as shell, and what the text does when it is run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from elsewhere.backends.aws.ground import ground
from elsewhere.controller.reach import importable
from elsewhere.ship.script import Archive, Bare, BootText, render

GOLDEN = Path(__file__).with_name("golden")
PLAIN = BootText(
    "spool:/scratch/jobs/one?job=job-1&key=00ff",
    "/scratch/machines",
    "/usr/bin/python3",
    timedelta(hours=12),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    slots=4,
)
AWKWARD = replace(
    PLAIN,
    address='pipe:/tmp/it\'s $(here); `id` "x"',
    directory="/tmp/a b'; rm -rf $HOME; '",
    python="/opt/my python/bin/python",
    term=timedelta(minutes=5),
    end="shutdown -h now",
)


AWS = ground("us-east-1", "my bucket's", "elsewhere/")
ARCHIVES = (Archive("bundles/aa.tar.gz", "aa", "runtime"), Archive("bundles/bb.tar.gz", "bb", "code"))
BARE = replace(
    PLAIN,
    address="sqs:us-east-1?job=job-1",
    directory=".elsewhere/job-1",
    python="",
    end=AWS.end,
    bare=Bare(AWS.name, AWS.fetch, "3.12", ARCHIVES, Archive("bundles/cc.tar.gz", "cc", "uv")),
)
KEPT = replace(BARE, keep=timedelta(minutes=30))
SHARED = replace(
    BARE,
    end="",
    bare=Bare(
        ': "${ELSEWHERE_MACHINE:?}"',
        'fetch() { cp "${HOME:-/root}/.elsewhere/cache"/"$1" "$2"; }',
        "3.12",
        (replace(ARCHIVES[0], shared=True), ARCHIVES[1]),
        Archive("bundles/cc.tar.gz", "cc", "uv"),
        cache='"${HOME:-/root}/.elsewhere/cache"',
    ),
)


TOLD = replace(PLAIN, path=("/opt/it's ours", "/usr/lib/python3/dist-packages"))


@pytest.mark.parametrize(("name", "text"), [("plain", PLAIN), ("told", TOLD), ("awkward", AWKWARD), ("bare", BARE),
                                            ("kept", KEPT), ("shared", SHARED)])  # fmt: skip
def test_the_text_is_the_golden_one_and_a_shell_can_read_it(name: str, text: BootText) -> None:
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(render(text))
    assert render(text) == golden.read_text()
    for shell in ("sh", "bash", "dash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=render(text).encode(), check=True)


def test_the_first_command_arms_the_switch_at_the_lesser_of_boot_limit_and_term() -> None:
    first = next(line for line in render(PLAIN).splitlines() if not line.startswith("#"))
    assert "left=1200 " in first and first.endswith("& switch=$!")
    assert "left=300 " in render(AWKWARD).splitlines()[1]


def run(text: BootText, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "err").open("wb") as err:
        return subprocess.Popen(
            ["sh", "-c", render(text)],
            env={**os.environ, "ELSEWHERE_MACHINE": "m"},
            stdout=err,
            stderr=err,
            start_new_session=True,
        )


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    def make(body: str) -> str:
        """An interpreter that is a shell script: what the text starts in place of the agent."""
        path = tmp_path / "it's python"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return str(path)

    return make


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


def test_the_agent_is_started_with_its_words_in_its_own_directory(tmp_path: Path, python: Callable[[str], str]) -> None:
    text = replace(AWKWARD, directory=str(tmp_path / "a b'c"), python=python('printf "%s\\n" "$PWD" "$@"; exit 3'))
    with run(replace(text, start_by=soon(), end=""), tmp_path) as process:
        assert process.wait(20) == 3
    words = (tmp_path / "err").read_text().splitlines()
    here = str(tmp_path / "a b'c" / "m")
    assert words[:4] == [here, "-m", "elsewhere.agent", AWKWARD.address]
    assert words[4:] == ["--directory", here, "--agent", "m", "--slots", "4", "--term", "300", "--lease", "120",
                         "--idle", "60"]  # fmt: skip


def test_our_own_interpreter_finds_an_agent_where_it_is_told_and_looks_nowhere_else(tmp_path: Path) -> None:
    """No `site`, which reads what each installed package wishes for at every start."""
    asks = "import sys, elsewhere.agent.serve, cryptography, cloudpickle; sys.exit('site' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", asks], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": ":".join(importable())})  # fmt: skip
    assert importable() and done.returncode == 0, done.stderr


def test_a_text_that_starts_too_late_runs_nothing(tmp_path: Path, python: Callable[[str], str]) -> None:
    text = replace(PLAIN, directory=str(tmp_path / "d"), python=python(f"touch '{tmp_path}/ran'"))
    text = replace(text, start_by=datetime.now(UTC) - timedelta(seconds=5))
    with run(text, tmp_path) as process:
        assert process.wait(20) == 75
    assert not (tmp_path / "ran").exists()
    assert b"too late" in (tmp_path / "err").read_bytes()


def test_an_agent_that_does_not_move_the_switch_is_ended_by_it(tmp_path: Path, python: Callable[[str], str]) -> None:
    body = f"trap '' TERM; echo $$ >'{tmp_path}/pid'; while :; do sleep 1; done"
    text = replace(PLAIN, directory=str(tmp_path / "d"), python=python(body), start_by=soon())
    text = replace(text, boot=timedelta(seconds=1), step=1)
    with run(text, tmp_path) as process:
        assert process.wait(40) == -signal.SIGKILL
    assert b"dead man" in (tmp_path / "err").read_bytes()
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 30
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "it lives on"
            time.sleep(0.02)


def test_a_living_agent_moves_the_switch(tmp_path: Path, python: Callable[[str], str]) -> None:
    body = 'for i in 1 2 3 4 5 6 7 8; do echo "3 $i" >"$HERE.new"; mv "$HERE.new" switch; sleep 0.5; done; exit 9'
    text = replace(PLAIN, directory=str(tmp_path / "d"), python=python(body.replace("$HERE", "here")), start_by=soon())
    text = replace(text, boot=timedelta(seconds=2), step=1)
    with run(text, tmp_path) as process:
        assert process.wait(40) == 9


def bare(tmp_path: Path, text: BootText, fetch: str, version: str = "") -> BootText:
    """On a machine that is this directory, whose archive holds a module that prints what it was called with."""
    import hashlib
    import tarfile

    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    (tmp_path / "elsewhere" / "agent.py").write_text("import os, sys; print(os.getcwd(), sys.argv[1:4])")
    with tarfile.open(tmp_path / "kept.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "elsewhere", "elsewhere")
    digest = hashlib.sha256((tmp_path / "kept.tar.gz").read_bytes()).hexdigest()
    archive = Archive("bundles/it's.tar.gz", digest, "runtime")
    wanted = version or f"{sys.version_info.major}.{sys.version_info.minor}"
    ground = Bare("ELSEWHERE_MACHINE='i 1'", fetch, wanted, (archive,), log="jobs/job-1/boots/")
    return replace(text, start_by=soon(), end=f"touch {tmp_path}/ended", bare=ground)


def boot(text: BootText, tmp_path: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-c", render(text)],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def test_a_bare_machine_fetches_checks_and_unpacks_then_starts_the_agent(tmp_path: Path) -> None:
    status, said = boot(
        bare(tmp_path, BARE, f'fetch() {{ echo "$1" >>{tmp_path}/asked; cp {tmp_path}/kept.tar.gz "$2"; }}'), tmp_path
    )
    assert status == 0, said
    assert f"\n{tmp_path}/.elsewhere/job-1 ['{BARE.address}', '--directory', " in said
    assert (tmp_path / ".elsewhere/job-1/boot.log").read_text() == said, "what it says is kept, and said"
    assert (tmp_path / "asked").read_text() == "bundles/it's.tar.gz\n"
    assert (tmp_path / "ended").exists()


def test_what_does_not_match_its_digest_is_not_unpacked(tmp_path: Path) -> None:
    fast = 'sleep() { command sleep 0.2; }; fetch() { echo forged >"$2"; }; '
    fast += f'send() {{ cp "$1" {tmp_path}/sent; echo "$2" >{tmp_path}/under; }}'
    status, said = boot(bare(tmp_path, BARE, fast), tmp_path)
    assert status == 74
    assert "bundles/it's.tar.gz could not be fetched" in said
    assert "could not be fetched" in (tmp_path / "sent").read_text()
    assert (tmp_path / "under").read_text() == "jobs/job-1/boots/i 1\n"
    assert not list((tmp_path / ".elsewhere/job-1").glob("runtime*"))
    assert (tmp_path / "ended").exists()


def test_a_machine_without_such_a_python_says_so_and_ends(tmp_path: Path) -> None:
    text = bare(tmp_path, BARE, f'fetch() {{ cp {tmp_path}/kept.tar.gz "$2"; }}', version="2.4")
    status, said = boot(text, tmp_path)
    assert status == 74
    assert "there is no Python 2.4 here" in said
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("agent", "term", "held"),
    [
        ("sys.exit(3)", 3600, True),  # it could not boot
        ("open('kept', 'w').write('3600\\n')", 5, True),  # a task failed, and the term has grown
        ("open('kept', 'w').write('0\\n')", 3600, False),  # its term is over
        ("pass", 3600, False),
    ],
)
def test_where_something_failed_the_machine_stays_for_its_time_and_is_ended_by_the_switch(
    tmp_path: Path, agent: str, term: int, held: bool
) -> None:
    ground = f'fetch() {{ cp {tmp_path}/kept.tar.gz "$2"; }}; send() {{ cp "$1" {tmp_path}/sent; }}'
    text = bare(tmp_path, replace(BARE, keep=timedelta(seconds=2), term=timedelta(seconds=term), step=1), ground)
    text = remade(tmp_path, text, f"import sys; {agent}")
    began = time.monotonic()
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(["sh", "-c", render(text)], env={**os.environ, "HOME": str(tmp_path)}, stdout=out,
                                   stderr=out, start_new_session=True)  # fmt: skip
    process.wait(60)
    end = time.monotonic() + 20
    while "dead man" not in (said := (tmp_path / "said").read_text()) and held and time.monotonic() < end:
        time.sleep(0.05)  # what copies it lives a moment longer
    assert ("elsewhere: kept for 2 s, since something failed here" in said) == held, said
    assert ("the dead man switch ends this machine" in said) == held
    assert (tmp_path / "ended").exists()
    if held:
        assert time.monotonic() - began >= 2
        assert "elsewhere: kept for 2 s" in (tmp_path / "sent").read_text(), "it is told before"


def remade(tmp_path: Path, text: BootText, body: str) -> BootText:
    """The same with another agent."""
    import hashlib
    import tarfile

    assert text.bare is not None
    (tmp_path / "elsewhere" / "agent.py").write_text(body)
    with tarfile.open(tmp_path / "kept.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "elsewhere", "elsewhere")
    digest = hashlib.sha256((tmp_path / "kept.tar.gz").read_bytes()).hexdigest()
    return replace(text, bare=replace(text.bare, archives=(replace(text.bare.archives[0], digest=digest),)))


def shared(tmp_path: Path, fetch: str = "") -> BootText:
    """On a machine that other jobs use too: what is only read lies unpacked where they find it."""
    asked = f'echo "$1" >>{tmp_path}/asked; '
    text = bare(tmp_path, BARE, f'fetch() {{ {asked}{fetch or f"cp {tmp_path}/kept.tar.gz"} "$2"; }}')
    assert text.bare is not None
    archives = tuple(replace(archive, shared=True) for archive in text.bare.archives)
    return replace(text, bare=replace(text.bare, archives=archives, cache=f"'{tmp_path}/ca che'"))


def test_what_is_only_read_is_unpacked_once_for_all_jobs_of_a_machine(tmp_path: Path) -> None:
    archived = shared(tmp_path)
    for job in ("job-1", "job-2", "job-2"):
        text = replace(archived, directory=f".elsewhere/{job}")
        status, said = boot(text, tmp_path)
        assert status == 0, said
        assert f"\n{tmp_path}/.elsewhere/{job} ['{BARE.address}', '--directory', " in said
    assert (tmp_path / "asked").read_text() == "bundles/it's.tar.gz\n", "it was fetched once"
    [kept] = (tmp_path / "ca che" / "unpacked").iterdir()
    assert (tmp_path / ".elsewhere/job-2/runtime").resolve() == kept
    again = replace(remade(tmp_path, shared(tmp_path), "print('of another version')"), directory=".elsewhere/job-2")
    assert "of another version" in boot(again, tmp_path)[1]


def test_what_was_not_unpacked_whole_is_nothing_that_others_find(tmp_path: Path) -> None:
    status, said = boot(shared(tmp_path, fetch="sleep() { :; }; false"), tmp_path)
    assert (status, "could not be fetched" in said) == (74, True)
    assert list((tmp_path / "ca che" / "unpacked").iterdir()) == []
    assert boot(shared(tmp_path), tmp_path)[0] == 0


def test_two_jobs_that_boot_at_the_same_moment_share_it(tmp_path: Path) -> None:
    archived = shared(tmp_path)
    texts = [replace(archived, directory=f".elsewhere/job-{k}", end="") for k in range(4)]
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": ""}
    booting = [subprocess.Popen(["sh", "-c", render(text)], env=env, stdout=subprocess.DEVNULL, start_new_session=True)
               for text in texts]  # fmt: skip
    assert [process.wait(60) for process in booting] == [0] * 4
    [kept] = (tmp_path / "ca che" / "unpacked").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == [".whole", "elsewhere"]


def laid(tmp_path: Path) -> tuple[BootText, Path]:
    """On a machine in whose cache an input was laid out by its place; and where."""
    import hashlib

    text = shared(tmp_path)
    assert text.bare is not None
    kept = tmp_path / "ca che" / "unpacked" / "dd"
    kept.mkdir(parents=True)
    (kept / "it's.dat").write_text("given")
    digest = hashlib.sha256(b"given").hexdigest()
    (kept / ".sums").write_text(f"{digest}  ./it's.dat\n")
    (kept / ".whole").touch()
    archives = (*text.bare.archives, Archive("unpacked/dd/.whole", "dd", "inputs/0", laid=True))
    return replace(text, bare=replace(text.bare, archives=archives), step=1), kept


def test_each_job_has_a_copy_of_what_lies_in_the_cache(tmp_path: Path) -> None:
    text, kept = laid(tmp_path)
    for job in ("job-1", "job-2"):
        status, said = boot(replace(text, directory=f".elsewhere/{job}"), tmp_path)
        assert status == 0, said
        own = tmp_path / ".elsewhere" / job / "inputs/0/it's.dat"
        assert own.read_text() == "given"
        own.write_text("written over")
    assert (kept / "it's.dat").read_text() == "given"


def test_what_was_damaged_in_the_cache_is_no_input_of_a_job(tmp_path: Path) -> None:
    text, kept = laid(tmp_path)
    (kept / "it's.dat").write_text("damaged")
    status, said = boot(text, tmp_path)
    assert status == 74 and "inputs/0 was not whole on this machine, and is brought again" in said
    assert not (kept / ".whole").exists(), "so that its place sees that it is to be brought"


def packed(folder: Path, key: str, files: dict[str, str]) -> Archive:
    """An archive of these in `folder`, under the last part of its key; programs all."""
    import hashlib
    import io
    import tarfile

    path = folder / key.rpartition("/")[2]
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(text), 0o755
            tar.addfile(about, io.BytesIO(text.encode()))
    return Archive(key, hashlib.sha256(path.read_bytes()).hexdigest(), path.name.partition(".")[0])


def test_a_machine_that_may_fetch_nothing_is_sent_a_python_which_is_kept(tmp_path: Path) -> None:
    fetch = f'fetch() {{ echo "$1" >>{tmp_path}/asked; cp {tmp_path}/"${{1##*/}}" "$2"; }}'
    text = bare(tmp_path, BARE, fetch, version="2.4")
    assert text.bare is not None
    base = os.path.realpath(sys.executable)
    python = packed(tmp_path, "bundles/python.tar.gz", {"bin/python2.4": f'#!/bin/sh\nexec {base} "$@"\n'})
    (tmp_path / "it's.tar.gz").symlink_to("kept.tar.gz")
    text = replace(text, bare=replace(text.bare, whole=python))
    for job in ("job-1", "job-2"):
        status, said = boot(replace(text, directory=f".elsewhere/jobs/{job}"), tmp_path)
        assert status == 0, said
        assert f"\n{tmp_path}/.elsewhere/jobs/{job} [" in said
        assert f"the agent begins, with {tmp_path}/.elsewhere/environments/python-" in said, "it outlives the job"
    [kept] = (tmp_path / ".elsewhere" / "environments").iterdir()
    assert kept.name == f"python-{python.digest[:16]}"
    assert (tmp_path / "asked").read_text().splitlines().count("bundles/python.tar.gz") == 1


def test_what_an_environment_is_made_of_is_not_fetched_where_it_is_kept(tmp_path: Path) -> None:
    fetch = f'fetch() {{ echo "$1" >>{tmp_path}/asked; cp {tmp_path}/"${{1##*/}}" "$2"; }}'
    text = bare(tmp_path, BARE, fetch)
    assert text.bare is not None
    (tmp_path / "it's.tar.gz").symlink_to("kept.tar.gz")
    parts = [replace(packed(tmp_path, f"bundles/{name}.tar.gz", {"x": name}), kept=name) for name in ("a", "b")]
    there = tmp_path / ".elsewhere" / "environments" / "a"
    there.mkdir(parents=True)
    (there / ".whole").touch()
    text = replace(text, bare=replace(text.bare, archives=(*text.bare.archives, *parts)))
    status, said = boot(text, tmp_path)
    assert status == 0, said
    assert (tmp_path / "asked").read_text().splitlines() == ["bundles/it's.tar.gz", "bundles/b.tar.gz"]
