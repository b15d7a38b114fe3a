"""A job's log, attached while a controller has the job; and a job that is brought here from another machine by its log.

The log is closed with a key of the job's own, which lies in the job's store in a box that the user's own key opens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from elsewhere.channels.carried import Carried
from elsewhere.config import secret
from elsewhere.config.home import location
from elsewhere.controller.files import JobFiles
from elsewhere.errors import JobHeld, NotFound, Refused, StateError, UnknownJob, UsageError
from elsewhere.hosts import write_new
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.questions import Questions
from elsewhere.model.reports import Form
from elsewhere.ship import box, seal
from elsewhere.stores import Store
from elsewhere.stores.objects import open_store

KEPT = "kept"
"""The fact of a ledger that says where its log is; empty, or not there: it has none."""
_HERE = "`elsewhere key export` on the machine that began it, `elsewhere key import` on this one"


def awake() -> float:
    """Seconds, also of those in which this machine slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def attach(files: JobFiles, ledger: Ledger, url: str, store: Store, alone: bool = False) -> Journal:
    """The log of a job that is ours, begun if it has none yet: from now on the ledger's commits are appended to it.

    JobHeld: the job was ended elsewhere, and its log is gone; or, if we want it `alone`, somebody has gone on with it.
    StateError: this file is no copy of that log, or the place speaks of another store than before.
    """
    known, position = str(ledger.get(KEPT, "")), int(ledger.get("position", 0))
    if known and known != url:
        raise StateError(
            f"{files.id} is kept at {known}, and this account and region speak of {url}",
            hint="log in to the account, and set the region, with which it was begun",
        )
    journal = _journal(files, store)
    if known and not journal.begun():
        raise JobHeld(f"the job has ended on another machine: its log at {url} was swept",
                      hint="its results are there; `elsewhere rm` removes this copy")  # fmt: skip
    if not known:  # of one that had a log none is begun: it may be swept in this very moment
        journal.found(ledger)
    _lend_keys(files, store)
    if not journal.reaches(position):
        raise StateError(
            f"the log at {url} does not go on from what was written down here",
            hint="remove this copy (`elsewhere rm`) and take the job over anew (`elsewhere resume --from`)",
        )
    if alone:
        journal.check(position + 1, within=0.0)
    journal.attach(ledger)
    if str(ledger.get(KEPT, "")) != url:
        with ledger.moving():
            ledger.set(KEPT, url)
    return journal


def attach_again(files: JobFiles, ledger: Ledger) -> None:
    """For a change of ours between two controllers: it, too, belongs into the job's log, if there is one.

    JobHeld: another machine has gone on with the job, so that it must be changed there, or taken over first.
    """
    if url := str(ledger.get(KEPT, "")):
        attach(files, ledger, url, open_store(url), alone=True)


def forget(ledger: Ledger) -> None:
    """The job is over and its log is about to be swept. Said before that is done: nobody takes it for lost."""
    ledger.journal = None
    with ledger.moving():
        ledger.set(KEPT, "")


def _journal(files: JobFiles, store: Store) -> Journal:
    return Journal(store, box=box.Box(files.log_key(), files.id), clock=awake)


def _lend_keys(files: JobFiles, store: Store) -> None:
    """The job's own secrets, for another machine of whoever has our private key now."""
    key, secrets = box.keys_of(seal.public()), box.Secrets(files.seal_key(), files.log_key())
    try:
        if box.opened(store.get(key), files.id) == secrets:
            return
    except (NotFound, Refused):
        pass
    store.put(key, box.closed(secrets, files.id))


# --- from another machine ---------------------------------------------------------------------------------------------


def job_of(url: str) -> str:
    """Whose log lies at this address. UsageError: it is that of no job."""
    job = url.rstrip("/").rpartition("/")[2]
    if not job.startswith("job-"):
        raise UsageError(
            f"{url!r} is not where a job is kept", hint="such as s3://bucket/elsewhere/jobs/job-..., as `run` said it"
        )
    return job


def bring(url: str, files: JobFiles, ledger: Path, told: Callable[[str], None]) -> None:
    """Make the files of a job, in its new directory, as its log tells them. `told`: what is waited for, for people.

    UnknownJob: there is no such log. UsageError: our key does not open it. ConfigError: a secret of its tasks is not
    to be had here. StateError: the log is not the owner's. What was made until then is the caller's to remove.
    """
    store = cast(Store, Ahead(open_store(url)))
    secrets = _borrow_keys(url, files.id, store)
    write_new(files.directory / "seal", secrets.seal)
    write_new(files.directory / "logkey", secrets.log)
    write_new(files.brought, url.encode())
    copy = _journal(files, store).restore(ledger)
    try:
        if copy.spec.id != files.id:
            raise StateError(f"the log at {url} is that of {copy.spec.id}", hint="somebody has moved it")
        secret.revealed(copy.spec.secrets)
        bring_values(copy, store, files.store, told)
    finally:
        copy.close()


def _borrow_keys(url: str, job: str, store: Store) -> box.Secrets:
    if not any(True for _ in store.list("log/")):
        raise UnknownJob(f"there is no job at {url}", hint="when a job is over, and all of it was fetched, it is swept")
    try:
        if (location() / "key").exists():
            return box.opened(store.get(box.keys_of(seal.public())), job)
    except NotFound:
        pass
    except Refused as error:
        raise StateError(f"{error.message}; it is not believed", hint="somebody else can write that bucket") from error
    raise UsageError(f"{job} can be taken over only with the key of whoever began it", hint=_HERE)


def bring_values(
    ledger: Questions, store: Store, directory: Path, told: Callable[[str], None] = lambda _: None
) -> None:
    """Large results that lie in the job's store, and not here. Twice: only what is missing."""
    carried = Carried(None, store, directory)
    rows = ledger.db.execute(
        "SELECT value FROM done WHERE form IN (?, ?)", (int(Form.STORED_JSON), int(Form.STORED_PICKLE))
    )
    said = False
    for (value,) in rows:
        key = bytes(value).decode("ascii", "replace")
        try:
            if not carried.is_here(key):
                if not said:
                    told("fetching large results")
                said = True
                carried.fetch(key)
        except (NotFound, ValueError):
            pass  # reading the result says so


class Ahead:
    """A store whose numbered objects are read in their order: some are asked for at once, before they are wanted."""

    def __init__(self, store: Store, most: int = 32) -> None:
        self._store, self._most = store, most
        self._read: dict[str, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str) -> bytes:
        if not key.startswith("log/"):
            return self._store.get(key)
        if key not in self._read:
            from concurrent.futures import ThreadPoolExecutor

            first = int(key.rpartition("/")[2])
            keys = [f"log/{number:012d}" for number in range(first, first + self._most)]
            with ThreadPoolExecutor(8) as pool:
                self._read = dict(pair for pair in pool.map(self._try, keys) if pair is not None)
        if key not in self._read:
            raise NotFound(f"there is no object {key}")
        return self._read.pop(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        return self._store.list(prefix, after)

    def _try(self, key: str) -> tuple[str, bytes] | None:
        try:
            return key, self._store.get(key)
        except NotFound:
            return None
