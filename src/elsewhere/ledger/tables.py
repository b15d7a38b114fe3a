"""The tables of a ledger, and how an older file becomes a newer one.

A task's row is written once and never again. What became of it is a row in `done`; only a task with a story (a retry,
an interruption, a priority of its own) has a row in `open`. The others are told by one number, the frontier: beyond it
a task is ready, up to it it is handed out under attempt 1. So a plain task costs two inserts.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw

from elsewhere.errors import StateError
from elsewhere.ledger.room import CHECKPOINT
from elsewhere.model.job import Box, Entry, Found, Input, JobSpec, Julia, Mount
from elsewhere.model.place import Limits, Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import RetryPolicy

VERSION = 2

SCHEMA = """
CREATE TABLE job(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE tasks(n INTEGER PRIMARY KEY, id TEXT NOT NULL, body BLOB NOT NULL, options BLOB) STRICT;
CREATE TABLE done(n INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL, outcome INTEGER NOT NULL,
    started INTEGER NOT NULL, took INTEGER NOT NULL, form INTEGER NOT NULL, value BLOB) STRICT;
CREATE TABLE open(n INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL, priority INTEGER NOT NULL,
    due REAL, tally TEXT, carry TEXT, holder TEXT) STRICT;
CREATE INDEX open_by_state ON open(state, priority DESC, n);
CREATE TABLE attempts(n INTEGER, attempt INTEGER, outcome INTEGER NOT NULL, started INTEGER NOT NULL,
    took INTEGER NOT NULL, form INTEGER NOT NULL, value BLOB, PRIMARY KEY(n, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE output(n INTEGER, attempt INTEGER, agent TEXT NOT NULL, slot INTEGER NOT NULL, roll INTEGER NOT NULL,
    out_from INTEGER NOT NULL, out_to INTEGER NOT NULL, err_from INTEGER NOT NULL, err_to INTEGER NOT NULL,
    PRIMARY KEY(n, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE allocations(id TEXT PRIMARY KEY, launch TEXT NOT NULL, native TEXT NOT NULL, state INTEGER NOT NULL,
    story TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX allocations_by_native ON allocations(native);
CREATE TABLE held(n INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, agent TEXT NOT NULL) STRICT;
CREATE TABLE events(seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    detail TEXT NOT NULL) STRICT;
"""
INDEX = "CREATE UNIQUE INDEX IF NOT EXISTS tasks_by_id ON tasks(id);"
MIGRATIONS: dict[int, str] = {1: ""}
"""From version k to k + 1. No row may change that a job's log speaks of: its segments would not fit any more.

2: allocations tell their whole offer and their slots. Older ones are read as they are (ledger/allocations.py).
"""


def connect(path: Path, write: bool) -> apsw.Connection:
    """An open ledger of this version. StateError: absent, damaged, of a newer version, or not writable."""
    flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    try:
        db = apsw.Connection(str(path), flags=flags)
        db.set_busy_timeout(10_000)
        version = int(str(db.execute("PRAGMA user_version").fetchall()[0][0]))
        if version == 0 or version > VERSION:
            db.close()
            raise StateError(
                f"{path} was written by a newer Elsewhere (its state is version {version}, we know {VERSION})"
                if version
                else f"{path} is not a ledger, or it was never finished",
                hint="upgrade Elsewhere" if version else "remove the job with `elsewhere rm`",
            )
        if write:
            db = migrate(db, path, version)
            setup(db)
    except apsw.Error as error:
        raise damage(path, error) from error
    return db


def setup(db: apsw.Connection, synchronous: str = "FULL") -> None:
    """What a writer sets. WAL is safe here: apsw carries an SQLite that is newer than 3.51.2.

    Temporary tables stay files: the sort that checks a million ids would take 60 MB of memory.
    """
    for pragma in (f"synchronous={synchronous}", "journal_mode=WAL", f"wal_autocheckpoint={CHECKPOINT}",
                   "temp_store=FILE", "cache_size=-8192", "journal_size_limit=16777216"):  # fmt: skip
        db.execute(f"PRAGMA {pragma}").fetchall()


def create(path: str, spec: str, draft: bool = False) -> apsw.Connection:
    """A new ledger without tasks. `draft`: nothing is synced."""
    db = apsw.Connection(path)
    setup(db, "OFF" if draft else "FULL")
    db.execute("BEGIN IMMEDIATE;" + SCHEMA + INDEX + f"PRAGMA user_version={VERSION}")
    db.execute("INSERT INTO job VALUES('spec', ?)", (spec,))
    db.execute("COMMIT")
    return db


def migrate(db: apsw.Connection, path: Path, version: int) -> apsw.Connection:
    """Step by step to VERSION, after a copy beside the file. The copy is SQLite's own: what was committed last may
    stand in the write-ahead log alone."""
    if version == VERSION:
        return db
    copy = path.with_suffix(f".v{version}")
    copy.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(copy),))
    shutil.copymode(path, copy)
    for step in range(version, VERSION):
        db.execute(f"BEGIN EXCLUSIVE;{MIGRATIONS[step]};PRAGMA user_version={step + 1};COMMIT")
    return db


def copy(db: apsw.Connection, path: Path) -> None:
    """A whole copy of what is committed, in place of an older one at once; readable where this file is not."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    made = apsw.Connection(str(draft))
    try:
        with made.backup("main", db, "main") as backup:
            backup.step()
        made.execute("PRAGMA journal_mode=DELETE").fetchall()
    finally:
        made.close()
    draft.replace(path)


def damage(path: Path, error: apsw.Error) -> StateError:
    """One plain sentence for what SQLite says of a file."""
    if isinstance(error, apsw.FullError):
        hint = "make room; the job goes on by itself, or with `elsewhere resume`"
        return StateError(f"the disk of {path} is full", hint=hint)
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError):
        return StateError(f"{path} cannot be opened for writing ({error})", hint="check its owner and its file system")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StateError(
            f"{path} is damaged ({error})",
            hint="bring back a copy, or remove the job with `elsewhere rm`",
        )
    return StateError(f"{path}: {error}", hint="see `elsewhere doctor`")


def spec_to_json(spec: JobSpec) -> str:
    """The job's description as it stands in the ledger."""

    def plain(value: object) -> object:
        if isinstance(value, timedelta):
            return {"seconds": value.total_seconds()}
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, Decimal):
            return {"share": str(value)}
        raise TypeError(type(value))

    values = asdict(spec)
    values["env"], values["secrets"], values["worker"] = dict(spec.env), dict(spec.secrets), dict(spec.worker)
    return json.dumps(values, default=plain)


def spec_from_json(text: str) -> JobSpec:
    """Keys that this version does not know are left out: an older one may read a job of the next minor version."""

    def rich(value: dict[str, Any]) -> Any:
        if value.keys() == {"seconds"}:
            return timedelta(seconds=value["seconds"])
        return Decimal(value["share"]) if value.keys() == {"share"} else value

    values = json.loads(text, object_hook=rich)
    known = {name: values[name] for name in JobSpec.__match_args__ if name in values}
    entry = known["entry"]
    known["entry"] = Entry(**{**entry, "command": tuple(entry.get("command", ()))})
    retry = known["retry"]
    known["retry"] = RetryPolicy(**retry)
    known["resources"] = Resources(**known["resources"])
    known["created"] = datetime.fromisoformat(known["created"])
    for name in ("path", "command_line", "software", "conda", "apt", "setup", "outputs"):
        known[name] = tuple(known.get(name, ()))
    known["box"] = _box(known.get("box"))
    known["julia"] = Julia(**known["julia"]) if known.get("julia") else None
    known["machines"] = tuple(_shape(values) for values in known.get("machines", ()))
    known["inputs"] = tuple(Input(**one) for one in known.get("inputs", ()))
    limits = known.get("limits", {})
    known["limits"] = Limits(**{**limits, "regions": tuple(limits.get("regions", ()))})
    return JobSpec(**known)


def _box(values: dict[str, Any] | None) -> Box | None:
    if not values:
        return None
    found = Found(**values["found"]) if values["found"] else None
    mounts = tuple(Mount(**one) for one in values["mounts"])
    return Box(values["image"], mounts, values["runtime"], tuple(values["options"]), found)


def _shape(values: dict[str, Any]) -> Shape:
    offer, known = values["offer"], {name: values[name] for name in Shape.__match_args__ if name in values}
    return Shape(**{**known, "offer": Offer(**{**offer, "resources": Resources(**offer["resources"])})})
