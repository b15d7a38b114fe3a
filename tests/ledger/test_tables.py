"""Ledgers of an older version: `version-1.sql` is one, as that version left it when it was killed within a job."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from elsewhere.errors import StateError
from elsewhere.ledger import tables
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.questions import Questions
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import AllocationMove, AllocationState, Outcome, TaskState

OLD = Path(__file__).with_name("version-1.sql")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def version(path: Path) -> int:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found = int(str(db.execute("PRAGMA user_version").fetchall()[0][0]))
    db.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """It was killed: all it has committed stands in its log, and the file itself is still empty."""
    before, path = tmp_path / "before.db", tmp_path / "ledger.db"
    db = apsw.Connection(str(before))
    db.execute("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0").fetchall()
    db.execute(OLD.read_text())
    for end in ("", "-wal"):
        shutil.copy(f"{before}{end}", f"{path}{end}")
    db.close()
    path.chmod(0o600)
    return path


def test_a_ledger_of_version_1_goes_on_where_it_was_left(path: Path) -> None:
    ledger = Ledger.open(path, lambda: 2000.0)
    assert version(path) == tables.VERSION == 2
    (machine,) = Holdings(ledger).allocations()
    assert (machine.native, machine.state) == ("m1", AllocationState.PENDING)
    assert (machine.price, machine.term, machine.slots) == (Decimal("1.5"), timedelta(hours=1), 1)
    assert Holdings(ledger).held() == [(2, 1, "m1")]
    with ledger.moving():
        running = replace(machine, state=AllocationState.RUNNING, started=NOON, spoke=NOON)
        Holdings(ledger).write(running, AllocationMove.START)
        assert [d.id for d in ledger.take(10)] == ["t3"]
        ledger.record([Ended(n, 1, Outcome.SUCCEEDED, 2000.0, 0.5, Form.JSON, b"2") for n in (2, 3)])
    ledger.close()
    again = Ledger.open(path)
    assert again.spec.name == "fit" and again.spec.software == () and again.spec.machines == ()
    assert again.counts.succeeded == 3 and again.counts.over
    assert Holdings(again).allocations() == [running]
    again.close()


def test_the_copy_beside_it_has_all_that_was_committed_and_is_nobody_elses_to_read(path: Path) -> None:
    Ledger.open(path).close()
    copy = path.with_suffix(".v1")
    assert version(copy) == 1 and copy.stat().st_mode & 0o777 == 0o600
    db = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
    assert db.execute("SELECT count(*) FROM tasks").fetchall() == [(3,)]
    assert db.execute("SELECT n, state FROM done").fetchall() == [(1, int(TaskState.SUCCEEDED))]
    db.close()


def test_a_migration_that_was_broken_off_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "MIGRATIONS", {1: "CREATE TABLE more(n INTEGER); SELECT no_such_function()"})
        with pytest.raises(StateError, match="no_such_function"):
            Ledger.open(path)
    assert version(path) == 1
    ledger = Ledger.open(path)
    assert ledger.db.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []
    assert version(path) == 2 and ledger.counts.total == 3
    ledger.close()


def test_a_reader_of_version_1_changes_nothing(path: Path) -> None:
    questions = Questions.read(path)
    assert questions.count().total == 3
    questions.close()
    assert version(path) == 1 and not path.with_suffix(".v1").exists()
