"""The thread that makes a place's calls."""

from __future__ import annotations

import select
import threading

import pytest

from elsewhere.controller.aside import Aside

BOUND = 30.0


def test_calls_are_made_in_order_elsewhere_and_who_asked_is_woken() -> None:
    aside, made, go = Aside(), list[tuple[int, str]](), threading.Event()

    def call(number: int) -> None:
        assert go.wait(BOUND)
        made.append((number, threading.current_thread().name))

    first, second = aside.ask(lambda: call(1)), aside.ask(lambda: call(2))
    assert not first.done() and not second.done()
    aside.wait(second, 0.01)
    assert not second.done() and select.select([aside.watch], [], [], 0)[0] == []
    go.set()
    aside.wait(second, BOUND)
    assert made == [(1, "place"), (2, "place")]
    assert select.select([aside.watch], [], [], BOUND)[0]
    aside.close()


def test_what_a_call_raises_is_its_answer() -> None:
    aside = Aside()
    answer = aside.ask(lambda: 1 // 0)
    aside.wait(answer, BOUND)
    with pytest.raises(ZeroDivisionError):
        answer.result()
    aside.close()


def test_a_call_that_is_under_way_when_all_ends_is_not_waited_for() -> None:
    aside, go = Aside(), threading.Event()
    answer = aside.ask(lambda: go.wait(BOUND))
    aside.close()
    aside.close()
    assert not answer.done()
    go.set()
    aside.wait(answer, BOUND)
    assert answer.result() is True
