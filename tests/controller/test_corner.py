"""Nothing of a job is left at its place, whenever a controller that was overtaken wakes and makes something there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from elsewhere import aws, session
from elsewhere.backends.base import Deposit
from elsewhere.backends.local import LocalSettings
from elsewhere.channels import registry as channels
from elsewhere.controller import corner as corners
from elsewhere.controller import drive
from elsewhere.controller.ending import TURN
from elsewhere.controller.files import JobFiles
from elsewhere.errors import JobHeld
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask
from elsewhere.sandbox.sqs import Queues
from elsewhere.ship import seal
from elsewhere.testing.fake import FakeClock
from sandbox.served import account_of, client, served

JOB = "job-01m8ar"


class Place:
    """Queues of the sandbox and a bucket that is a directory."""

    Settings = LocalSettings

    def __init__(self, url: str) -> None:
        self.url = url

    def deposit(self) -> Deposit:
        return Deposit(self.url, {"region": "us-east-1"})

    def ground(self) -> None: ...
    def identify(self) -> None: ...


class Scene:
    def __init__(self, tmp_path: Path, url: str, clock: FakeClock) -> None:
        self.clock = clock
        self.place = cast(Any, Place(f"file://{tmp_path}/bucket"))
        self.sqs = client("sqs", url)
        spec = JobSpec(JOB, "fit", Entry("function", "a:b"), place="lab", channel="sqs")
        self.files: JobFiles = session.create(spec, [NewTask("t0", b"{}")])
        self.ledger = Ledger.open(self.files.ledger)
        self.corner = corners.opened(self.files, self.ledger, self.place)

    def homes(self, turn: int = 0) -> Any:
        """The controller's end, as one of that turn makes it."""
        terms = channels.Terms(JOB, self.corner.url, self.corner.deposit.channel, _Key(), lambda name: _Key(), b"", b"",
                               turn)  # fmt: skip
        return channels.home("sqs", terms)

    @property
    def left(self) -> tuple[list[str], list[str]]:
        queues = [url.rpartition("/")[2] for url in self.sqs.list_queues().get("QueueUrls", [])]
        return sorted(queues), list(self.corner.store.list())


class _Key:
    def sign(self, data: bytes) -> bytes:
        return seal.sign([data])

    def verify(self, data: bytes, signature: bytes) -> bool:
        return True


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    clock = FakeClock()
    with served(Queues(clock)) as url:
        account_of(monkeypatch, url)
        aws.forget()
        made = Scene(tmp_path, url, clock)
        with closing(made.ledger):
            yield made
    aws.forget()


def over(scene: Scene) -> None:
    """Another controller ends the job: its queues go, then its corner."""
    scene.homes().destroy()
    corners.sweep(scene.corner.store, [scene.homes()])


def test_who_wakes_when_all_was_swept_takes_away_what_it_makes(scene: Scene) -> None:
    over(scene)
    scene.homes().create()
    assert scene.left != ([], [])
    scene.corner.withdraw(scene.ledger)
    assert scene.left == ([], [])


def test_who_has_made_it_again_and_died_takes_it_away_when_it_is_resumed(scene: Scene) -> None:
    over(scene)
    scene.homes().create()
    with pytest.raises(JobHeld, match="has ended on another machine"):
        corners.opened(scene.files, scene.ledger, scene.place)
    assert scene.left == ([], [])


def test_who_wakes_while_another_has_the_job_touches_nothing(scene: Scene) -> None:
    scene.homes().create()
    before = scene.left
    assert len(before[0]) == 3 and "charter" in before[1]
    scene.corner.withdraw(scene.ledger)
    assert scene.left == before


def test_what_is_made_between_the_queues_end_and_the_logs_is_swept_with_the_log(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.homes().create()
    scene.homes().destroy()
    scene.clock.advance(61)  # no sooner may a queue of that name be made again
    store, delete = scene.corner.store, scene.corner.store.delete

    def wake(keys: Any) -> None:
        monkeypatch.setattr(store, "delete", delete)
        scene.homes().create()  # and finds that there still is a log
        scene.corner.withdraw(scene.ledger)
        assert scene.left[0] != []
        delete(keys)

    monkeypatch.setattr(store, "delete", wake)
    corners.sweep(store, [scene.homes()])
    assert scene.left == ([], [])


def test_what_was_made_for_an_earlier_turn_of_the_job_is_swept_with_the_next(scene: Scene) -> None:
    with scene.ledger.moving():
        scene.ledger.set(TURN, 2)
    scene.homes(0).create()
    scene.homes(2).create()
    corners.sweep(scene.corner.store, (*corners.earlier(scene.ledger, scene.corner), scene.homes(2)))
    assert scene.left == ([], [])


def test_whoever_runs_a_job_and_finds_itself_overtaken_leaves_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asleep_while_it_gathered(*_: Any) -> Any:
        over(scene)
        scene.homes().create()
        scene.corner.journal._sure = float("-inf")  # that took longer than a second
        with scene.ledger.moving():  # its next commit
            scene.ledger.note("closing", "")

    monkeypatch.setattr(drive, "corner_of", lambda files, ledger: scene.corner)
    monkeypatch.setattr(drive, "take_over", lambda files, ledger: 2)
    monkeypatch.setattr(drive, "gather", asleep_while_it_gathered)
    with pytest.raises(JobHeld), closing(session.Stop()) as stop:
        drive.drive(scene.files, stop)
    assert scene.left == ([], [])
