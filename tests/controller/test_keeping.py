"""A job kept in a store: attached to its log here, and brought to another machine whose user has the same key."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.controller import keeping
from elsewhere.controller.files import JobFiles
from elsewhere.errors import ConfigError, JobHeld, StateError, UnknownJob, UsageError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.ship import seal
from elsewhere.slot import values
from elsewhere.stores import DirectoryStore

JOB = "job-01m8ar"
KEY = "ab" * 32


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path / 'bucket' / 'jobs' / JOB}"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "bucket" / "jobs" / JOB)


def at(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on we sit there."""
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / machine))


def begun(url: str, store: DirectoryStore, **more: object) -> tuple[JobFiles, Ledger]:
    """A job with its log attached: t0 has a large result, t1 is handed out, t2 waits."""
    spec = JobSpec(JOB, "fit", Entry("function", "a:b"), **more)  # type: ignore[arg-type]
    files = session.create(spec, [NewTask(f"t{k}", b"{}") for k in range(3)])
    ledger = Ledger.open(files.ledger)
    keeping.attach(files, ledger, url, store)
    store.put(f"values/{KEY}", b'"large"')
    with ledger.moving():
        ledger.take(2)
    with ledger.moving():
        ledger.record([Ended(1, 1, Outcome.SUCCEEDED, 1.0, 1.0, Form.STORED_JSON, KEY.encode())])
    return files, ledger


def left(tmp_path: Path, machine: str) -> list[str]:
    return [path.name for path in (tmp_path / machine / "jobs").iterdir()]


def test_a_job_comes_whole_to_another_machine_that_has_the_key(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    key, sealing, log = seal.export(), files.seal_key(), files.log_key()
    at("other", tmp_path, monkeypatch)
    seal.import_(key)
    came = session.bring(url)
    assert (came.seal_key(), came.log_key()) == (sealing, log)
    assert Path(values.path_of(str(came.store), KEY)).read_bytes() == b'"large"'
    assert session.find("fit").id == JOB and came.directory.stat().st_mode & 0o777 == 0o700
    copy = Ledger.open(came.ledger)
    assert copy.counts == ledger.counts and copy.spec == ledger.spec
    with pytest.raises(UsageError, match="is here already"):
        session.bring(url)
    keeping.attach(came, copy, url, store)
    with copy.moving():
        copy.take_over()
    with pytest.raises(JobHeld), ledger.moving():
        ledger.take(1)
    copy.close()
    ledger.close()


def test_without_the_key_nothing_is_brought_and_no_key_is_made(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    begun(url, store)[1].close()
    secrets = (tmp_path / "laptop" / "jobs" / JOB / "seal").read_bytes()
    assert not any(secrets in path.read_bytes() for path in (tmp_path / "bucket").rglob("*") if path.is_file())
    at("other", tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="with the key of whoever began it") as told:
        session.bring(url)
    assert "key export" in told.value.hint and "key import" in told.value.hint
    assert not seal.exists() and left(tmp_path, "other") == []
    seal.public()  # another key
    with pytest.raises(UsageError, match="with the key of whoever began it"):
        session.bring(url)
    assert left(tmp_path, "other") == []


def test_a_box_of_another_job_does_not_open(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elsewhere.ship import box

    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    ledger.close()
    store.put(box.keys_of(seal.public()), box.closed(box.Secrets(bytes(32), bytes(32)), "job-2"))
    session.remove(files)
    with pytest.raises(StateError, match="not believed"):
        session.bring(url)
    assert left(tmp_path, "laptop") == []


@pytest.mark.parametrize("which", ["s3://bucket/elsewhere", "file:///tmp/jobs", "job-1"])
def test_an_address_that_is_that_of_no_job_is_answered(which: str) -> None:
    with pytest.raises(UsageError):
        session.bring(which)


def test_a_job_that_was_swept_is_not_there(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at("laptop", tmp_path, monkeypatch)
    with pytest.raises(UnknownJob, match="there is no job at"):
        session.bring(url)
    assert left(tmp_path, "laptop") == []


def test_a_secret_that_is_not_to_be_had_here_is_said_before_anything_is_brought(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    monkeypatch.setenv("PLANTED", "x")
    files, ledger = begun(url, store, secrets={"TOKEN": "env:PLANTED"})
    ledger.close()
    session.remove(files)
    monkeypatch.delenv("PLANTED")
    with pytest.raises(ConfigError, match="PLANTED is not set"):
        session.bring(url)
    assert left(tmp_path, "laptop") == []
    monkeypatch.setenv("PLANTED", "y")
    assert session.bring(url).id == JOB


def test_what_is_changed_between_two_controllers_belongs_into_the_log_too(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    ledger.close()
    assert session.cancel(files, ["t2"]) == 1
    session.remove(files)
    copy = session.bring(url).open()
    assert copy.count().cancelled == 1
    copy.close()


def test_what_another_machine_goes_on_with_is_not_changed_here(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    ledger.close()
    key = seal.export()
    at("other", tmp_path, monkeypatch)
    seal.import_(key)
    copy = Ledger.open(session.bring(url).ledger)
    keeping.attach(session.find(JOB), copy, url, store)
    with copy.moving():
        copy.take_over()
    at("laptop", tmp_path, monkeypatch)
    with pytest.raises(JobHeld):
        session.cancel(files)
    with copy.moving():
        copy.note("it goes on")
    copy.close()


def test_a_job_that_was_ended_and_swept_elsewhere_is_not_begun_again(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    ledger.journal = None
    store.delete(list(store.list()))
    with pytest.raises(JobHeld, match="has ended on another machine"):
        keeping.attach(files, ledger, url, store)
    assert list(store.list()) == []
    keeping.forget(ledger)  # as whoever sweeps says of its own
    keeping.attach(files, ledger, url, store)
    assert list(store.list("log/")) != []
    ledger.close()


def test_another_account_or_region_is_told_from_the_one_where_it_was_begun(
    tmp_path: Path, url: str, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("laptop", tmp_path, monkeypatch)
    files, ledger = begun(url, store)
    with pytest.raises(StateError, match="this account and region speak of"):
        keeping.attach(files, ledger, url.replace("bucket", "other"), DirectoryStore(tmp_path / "other"))
    ledger.close()
