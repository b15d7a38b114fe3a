"""`@remote`: a function that runs elsewhere when it is called."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import elsewhere
from elsewhere import Resources, RetryPolicy, remote
from elsewhere.errors import (
    PayloadError,
    RemoteTraceback,
    TaskFailed,
    TaskOutOfMemory,
    TaskTimedOut,
    UnknownPlace,
    UsageError,
)


class Odd(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


@remote
def double(x: int) -> int:
    """Twice."""
    return 2 * x


@remote
def where() -> int:
    return os.getpid()


@remote
def refuse(x: int) -> None:
    print("some last words", file=__import__("sys").stderr)
    raise KeyError(x)


@remote
def outer(x: int) -> tuple[int, int]:
    return os.getpid(), sum(double.map([x])) + double(x) + double.submit(x).result()


@remote
def endless(x: int) -> int:
    return endless(x - 1) + 1 if x else 0


@remote
def wait_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.01)
    return path


@remote
def tell_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


@remote
def first_then_hang(path: str) -> str:
    if path:
        Path(path).write_text(str(os.getpid()))
        time.sleep(600)
    return "first"


def ask(x: Any) -> Any:
    return x


def take(size: int) -> int:
    return len(bytearray(size))


def until(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def test_a_call_returns_the_value_from_another_process() -> None:
    assert double(2) == 4
    assert where() != os.getpid()


def test_calls_share_one_warm_job() -> None:
    assert double.submit(1).pool is where.submit().pool  # type: ignore[attr-defined]


def test_it_is_still_the_function_it_was() -> None:
    assert (vars(double)["__name__"], double.__doc__, double.__module__) == ("double", "Twice.", __name__)
    assert double.local(4) == 8
    assert double.__wrapped__(4) == 8


def test_an_exception_comes_home_as_its_own_type_with_the_remote_traceback() -> None:
    with pytest.raises(KeyError) as told:
        refuse(7)
    assert told.value.args == (7,)
    assert isinstance(told.value.__cause__, RemoteTraceback)
    assert "raise KeyError(x)" in str(told.value.__cause__)
    assert "some last words" in told.value.stderr  # type: ignore[attr-defined]
    assert told.value.task.endswith("/refuse-1") and told.value.attempt == 1  # type: ignore[attr-defined]


def test_an_exception_that_cannot_be_unpickled_is_a_task_failed() -> None:
    def odd() -> None:
        raise Odd("this", "that")

    with pytest.raises(TaskFailed, match="Odd: this and that"):
        remote(odd)()


def test_a_task_that_ends_its_process_fails_and_the_caller_goes_on() -> None:
    ways: list[tuple[Any, int]] = [(sys.exit, 4), (os._exit, 5)]
    for leave, status in ways:
        far: Any = remote(leave)
        with pytest.raises(TaskFailed) as told:
            far(status)
        assert told.value.exit_code == status


def test_more_memory_than_allowed_is_told_as_such() -> None:
    with pytest.raises(TaskOutOfMemory):
        remote(take).options(memory="200MiB")(400_000_000)


def test_variables_and_the_task_at_hand_are_there() -> None:
    def look() -> tuple[str, str, bool]:
        task = elsewhere.current_task()
        return os.environ["COLOUR"], task.id, task.time_left is not None

    assert remote(look).options(env={"COLOUR": "red"}, timeout="9s")() == ("red", "look-1", True)


def test_isolated_calls_have_a_process_each() -> None:
    alone = where.options(isolate=True)
    assert alone() != alone()


def test_submit_gives_a_future_of_the_standard_library() -> None:
    futures = [double.submit(x) for x in range(20)]
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    done, _ = concurrent.futures.wait(futures, timeout=30)
    assert sorted(future.result() for future in done) == [2 * x for x in range(20)]
    assert refuse.submit(1).exception(timeout=30).args == (1,)  # type: ignore[union-attr]


def test_a_running_call_can_be_cancelled_and_its_process_is_gone(tmp_path: Path) -> None:
    future = tell_and_wait.submit(str(tmp_path / "pid"))
    until((tmp_path / "pid").exists)
    until(lambda: (tmp_path / "pid").read_text())
    assert future.cancel() and future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert double(1) == 2, "the job goes on"


def test_a_call_that_has_not_begun_can_be_cancelled_at_once() -> None:
    one = double.options(slots=1)
    futures = [one.submit(x) for x in range(50)]
    assert futures[-1].cancel()
    assert [future.result(30) for future in futures[:-1]] == [2 * x for x in range(49)]


def test_map_gives_results_in_order() -> None:
    assert list(double.map(range(500))) == [2 * x for x in range(500)]
    assert list(remote(pow).map([2, 3], [5, 2])) == [32, 9]


def test_map_takes_no_more_of_an_endless_input_than_it_has_room_for() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for x in itertools.count():
            taken.append(x)
            yield x

    results = double.map(numbers(), window=10)
    assert taken == [], "nothing is read before something is wanted"
    assert list(itertools.islice(results, 25)) == [2 * x for x in range(25)]
    assert len(taken) <= 25 + 10 + 1
    results.close()  # type: ignore[attr-defined]


def test_map_as_completed_is_not_held_up_by_a_slow_first(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    two = wait_for.options(slots=2)
    results = two.map([str(tmp_path / "a"), str(tmp_path / "b")], ordered=False)
    assert next(results) == str(tmp_path / "b")
    (tmp_path / "a").touch()
    assert list(results) == [str(tmp_path / "a")]


def test_map_raises_returns_or_skips_what_failed() -> None:
    def half(x: int) -> int:
        if x % 2:
            raise ValueError(x)
        return x // 2

    far = remote(half)
    with pytest.raises(ValueError):
        list(far.map(range(4)))
    assert list(far.map(range(5), errors="skip")) == [0, 1, 2]
    assert [repr(x) for x in far.map(range(3), errors="return")] == ["0", "ValueError(1)", "1"]
    with pytest.raises(UsageError, match="errors must be one of"):
        far.map(range(4), errors="ignore")  # type: ignore[arg-type]


def test_leaving_a_map_early_cancels_what_is_under_way(tmp_path: Path) -> None:
    for first in first_then_hang.options(slots=2).map(["", str(tmp_path / "a"), str(tmp_path / "b")]):
        assert first == "first"
        until(lambda: (tmp_path / "a").exists() and (tmp_path / "a").read_text())
        break
    told = [path.read_text() for path in (tmp_path / "a", tmp_path / "b") if path.exists()]
    begun = [pid for pid in told if pid]  # one that is stopped may have opened its file and no more
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in begun))


def test_a_call_whose_job_somebody_else_cancels_does_not_wait_for_ever(tmp_path: Path) -> None:
    future = tell_and_wait.options(name="other").submit(str(tmp_path / "pid"))
    until(lambda: (tmp_path / "pid").exists())
    elsewhere.attach("other").cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(20)
    assert double.options(name="other")(1) == 2, "the next call opens another"


def test_it_can_be_awaited_and_a_cancelled_await_cancels_the_call(tmp_path: Path) -> None:
    async def main() -> list[int]:
        values = await asyncio.gather(*(double.aio(x) for x in range(5)))
        with pytest.raises(KeyError):
            await refuse.aio(1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(tell_and_wait.aio(str(tmp_path / "pid")), 0.5)
        return values

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]


def test_a_call_works_inside_a_running_event_loop() -> None:
    async def main() -> int:
        return double(21)

    assert asyncio.run(main()) == 42


def test_options_hold_for_that_call_only() -> None:
    quick = wait_for.options(timeout="200ms")
    with pytest.raises(TaskTimedOut):
        quick("/nonexistent/x")
    assert wait_for._settings == {}


def test_retries_are_made_and_end(tmp_path: Path) -> None:
    def third(path: str) -> int:
        with Path(path).open("a") as file:
            file.write(".")
        if Path(path).stat().st_size < 3:
            raise OSError("not yet")
        return Path(path).stat().st_size

    policy = RetryPolicy(retries=5, delay=0.01)  # type: ignore[arg-type]
    assert remote(third).options(retries=policy)(str(tmp_path / "a")) == 3
    with pytest.raises(OSError, match="not yet") as told:
        remote(third)(str(tmp_path / "b"))
    assert told.value.attempt == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timeout": "3 parsecs"}, "timeout: '3 parsecs' is not a duration"),
        ({"memory": "lots"}, "memory: 'lots' is not a size"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"slots": 0}, "slots must be 1 or more"),
        ({"tiemout": "3s"}, "unknown option 'tiemout'; did you mean timeout"),
        ({"name": "job-x y"}, "cannot name a job"),
        ({"env": {"A": 1}}, "env: A must be a string"),
    ],
)
def test_a_wrong_option_is_said_when_the_function_is_decorated(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        remote(**wrong)(ask)


def test_an_unknown_place_is_an_error_and_never_a_silent_run_here() -> None:
    with pytest.raises(UnknownPlace, match="there is no place 'locale'; did you mean local"):
        double.options(on="locale")(1)


def test_what_cannot_travel_is_named_and_nothing_is_sent() -> None:
    with pytest.raises(PayloadError, match=r"argument 1 .*_thread\.lock"):
        remote(ask)(threading.Lock())

    def give() -> Any:
        return threading.Lock()

    with pytest.raises(PayloadError, match="result"):
        remote(give)()


def test_in_a_slot_remote_functions_run_where_they_are_called() -> None:
    pid, total = outer(5)
    assert total == 30 and pid != os.getpid()
    assert endless(30) == 30


def test_values_keep_their_types() -> None:
    for value in [(1, 2), {1: "a"}, {"a": (None, 2.5)}, b"\0", {1, 2}, None, "ü", Resources(memory="1GiB")]:  # type: ignore[arg-type]
        home = remote(ask)(value)
        assert home == value and type(home) is type(value)


def test_async_functions_run_too() -> None:
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert remote(later)(1) == 2  # type: ignore[comparison-overlap]


def test_methods_can_be_remote() -> None:
    assert Account(40).plus(2) == 42


class Account:
    def __init__(self, sum_: int) -> None:
        self.sum = sum_

    @remote
    def plus(self, x: int) -> int:
        return self.sum + x


def test_a_remote_function_pickles_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(double)) is double


def test_a_forked_child_opens_its_own_slots() -> None:
    assert double(1) == 2
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(double(21)).encode())
        finally:
            from elsewhere.api import live

            live.close_all()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as news:
        assert news.read() == "42"
    os.waitpid(pid, 0)
    assert double(2) == 4
