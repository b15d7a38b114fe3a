"""What tasks print goes up now and then; when one ends while somebody reads along, at once."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from elsewhere.agent import outflow
from elsewhere.agent.outflow import Outflow


class Upload:
    def __init__(self) -> None:
        self.went = threading.Semaphore(0)

    def send_pages(self) -> None: ...

    def send(self, last: bool = False) -> int:
        self.went.release()
        return 0


def test_the_last_words_of_a_task_that_is_followed_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "FOLLOWED", 3600.0)
    monkeypatch.setattr(outflow, "EVERY", 3600.0)
    upload = Upload()
    made = Outflow(cast(Any, upload))
    made.start()
    made.hurry()
    assert upload.went.acquire(timeout=30)
    made.hurry()
    assert upload.went.acquire(timeout=30), "and each time"
    made.followed = False
    made.hurry()
    assert not upload.went.acquire(timeout=0.5), "nobody waits for it"
    made.close()
