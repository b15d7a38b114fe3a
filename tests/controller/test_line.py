"""A channel that keeps its temper."""

from __future__ import annotations

from elsewhere.controller.line import Line
from elsewhere.errors import StateError
from elsewhere.model.task import Delivery
from elsewhere.testing.fake import FakeChannel, FakeClock


def test_where_there_was_no_room_to_write_it_says_so_until_something_was_written() -> None:
    class Full(FakeChannel):
        def send(self, deliveries: object) -> None:
            raise StateError("/scratch is full")

    line = Line(Full(FakeClock()), lambda: 0.0)
    line.send([Delivery(1, 1, "t1", b"{}")])
    line.collect(10)
    assert line.trouble == "/scratch is full", "that it can be read says nothing of it"
    assert line.attempt(lambda: None, writes=True) and line.trouble == ""
