"""Functions, arguments, results and exceptions travel out and home."""

from __future__ import annotations

import base64
import functools
import json
import operator
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.errors import PayloadError, RemoteTraceback, TaskFailed, TaskLost, TaskOutOfMemory, TaskTimedOut
from elsewhere.model.states import Outcome
from elsewhere.ship import codec
from elsewhere.slot import values, wire

KEY = b"k" * 32


@pytest.fixture
def ours(tmp_path: Path) -> codec.Codec:
    return codec.Codec(tmp_path / "store", KEY)


def far(ours: codec.Codec, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the slot would make of the call, and what would come home."""
    body, _, _ = ours.call(ours.function(function), args, kwargs)
    called, its_args, its_kwargs = opened(ours, body)
    return ours.value(*values.write(called(*its_args, **its_kwargs), True, ours.store, KEY))


def opened(ours: codec.Codec, body: bytes) -> Any:
    call = json.loads(body)
    function = values.open_pickle(ours.store, KEY, call["function"])
    if "stored" in call:
        return function, *values.open_pickle(ours.store, KEY, call["stored"])
    if "pickle" in call:
        return function, *values.load(values.unseal(KEY, base64.b64decode(call["pickle"])))
    return function, call["args"], call.get("kwargs", {})


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def plus(self, y: int) -> int:
        return self.x + y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class Fussy(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def same(x: Any) -> Any:
    return x


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(json_like)
def test_a_value_comes_home_equal_and_of_the_same_types(value: Any) -> None:
    form, data = values.write(value, True, "/nonexistent", KEY)
    assert repr(codec.decode(form, data, "/nonexistent", KEY)) == repr(value)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, wire.NOTHING),
        (1, wire.JSON),
        (True, wire.JSON),
        ({"a": [1, 2.5, None, "ü\ud800"]}, wire.JSON),
        ((1, 2), wire.PICKLE),
        ({1: 2}, wire.PICKLE),
        (float("nan"), wire.PICKLE),
        (numpy.float64(1.0), wire.PICKLE),
        (b"bytes", wire.PICKLE),
        ("x" * 100_000, wire.STORED_JSON),
        (b"x" * 100_000, wire.STORED_PICKLE),
    ],
)
def test_json_where_it_is_exact_and_small_otherwise_a_sealed_pickle_or_a_file(
    ours: codec.Codec, value: Any, form: int
) -> None:
    written, data = values.write(value, True, ours.store, KEY)
    assert written == form
    home = ours.value(written, data)
    assert type(home) is type(value)
    assert home == value or value != value


def test_a_large_array_travels_out_of_band_and_comes_home_writable(ours: codec.Codec) -> None:
    array = numpy.arange(1 << 20, dtype=numpy.float64)
    home = far(ours, same, array)
    assert (home == array).all()
    home[0] = 5.0
    files = sorted(path.stat().st_size for path in Path(ours.store).rglob("*") if path.is_file())
    assert all(abs(size - array.nbytes) < 4096 for size in files[-2:]), "the bytes are there once, not pickled again"


def closure(k: int) -> Callable[[int], int]:
    return lambda x: x * k


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (abs, 3),
        (functools.partial(operator.add, 1), 4),
        (closure(5), 15),
        (lambda x: x - 1, 2),
        (Point(10).plus, 13),
    ],
    ids=["builtin", "partial", "closure", "lambda", "method"],
)
def test_every_kind_of_function_travels(ours: codec.Codec, function: Callable[[int], int], result: int) -> None:
    assert far(ours, function, 3) == result


def test_a_function_of_a_module_that_no_other_process_finds_goes_by_value(ours: codec.Codec) -> None:
    module = types.ModuleType("made_up_here")
    exec("def double(x):\n    return helper(x)\ndef helper(x):\n    return 2 * x\n", module.__dict__)
    sys.modules["made_up_here"] = module
    body, _ = codec.dump_function(module.double)
    del sys.modules["made_up_here"]
    assert __import__("pickle").loads(body)(4) == 8


def test_a_function_of_an_installed_package_goes_by_reference() -> None:
    body, _ = codec.dump_function(json.dumps)
    assert len(body) < 60


def test_the_same_function_is_stored_once_and_a_changed_global_makes_another(ours: codec.Codec) -> None:
    space: dict[str, Any] = {"__name__": "__main__", "factor": 2}
    exec("def f(x): return x * factor", space)
    first = ours.function(space["f"])
    assert ours.function(space["f"]) == first
    assert values.open_pickle(ours.store, KEY, first)(3) == 6
    space["factor"] = 5
    assert ours.function(space["f"]) != first


def test_an_argument_that_cannot_travel_is_named_to_the_innermost_object(ours: codec.Codec) -> None:
    held = Point(1)
    held.lock = {"inner": [threading.Lock()]}  # type: ignore[attr-defined]
    with pytest.raises(PayloadError, match=r"argument 2 .*argument 2\.lock\['inner'\]\[0\] is a _thread\.lock") as told:
        ours.call(ours.function(same), (1, held), {})
    assert told.value.exit_status == 2
    with pytest.raises(PayloadError, match="argument 'key'"):
        ours.call(ours.function(same), (), {"key": threading.Lock()})


def test_a_function_that_cannot_travel_says_which_variable_holds_what(ours: codec.Codec) -> None:
    lock = threading.Lock()
    with pytest.raises(PayloadError, match=r"the function .*variable 'lock' is a _thread\.lock"):
        ours.function(lambda: lock.locked())


def test_a_pickle_that_our_job_did_not_seal_is_never_opened(ours: codec.Codec) -> None:
    opened: list[int] = []

    class Trap:
        def __reduce__(self) -> Any:
            return opened.append, (1,)

    forged = values.seal(b"other" * 7, values.dump(Trap()))
    with pytest.raises(PayloadError, match="not opened"):
        ours.value(wire.PICKLE, forged)
    for cut in range(0, len(forged), 7):
        with pytest.raises(PayloadError):
            ours.value(wire.PICKLE, forged[:cut])
    key = values.keep_pickle(ours.store, b"other" * 7, values.dump(Trap()), [])
    with pytest.raises(PayloadError, match="not opened"):
        ours.value(wire.STORED_PICKLE, key.encode())
    assert opened == []


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 255))
def test_no_changed_byte_of_a_sealed_pickle_passes(at: int, mask: int) -> None:
    whole = bytearray(values.seal(KEY, values.dump(({"a": (1, 2)}, b"x" * 200))))
    whole[at % len(whole)] ^= mask
    with pytest.raises(values.Unsealed):
        values.unseal(KEY, bytes(whole))


def failure(error: BaseException, **more: Any) -> bytes:
    text = base64.b64encode(values.seal(KEY, values.dump_error(error))).decode()
    made: bytes = wire.failure(type(error).__name__, str(error), "Traceback: far away", pickle=text, **more)
    return made


def test_an_exception_comes_home_as_it_was_with_the_far_traceback(ours: codec.Codec) -> None:
    home = ours.error(Outcome.ERRORED, failure(KeyError("k"), stderr="last words"), "job/t", 2)
    assert type(home) is KeyError and home.args == ("k",)
    assert isinstance(home.__cause__, RemoteTraceback) and "far away" in str(home.__cause__)
    assert (home.task, home.attempt, home.stderr) == ("job/t", 2, "last words")  # type: ignore[attr-defined]


def test_an_exception_that_cannot_be_opened_here_comes_home_as_text(ours: codec.Codec) -> None:
    home = ours.error(Outcome.ERRORED, failure(Fussy("a", "b"), exit_code=3))
    assert type(home) is TaskFailed and "Fussy: a b" in str(home) and home.exit_code == 3
    assert "far away" in home.traceback


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.TIMED_OUT, TaskTimedOut), (Outcome.OUT_OF_MEMORY, TaskOutOfMemory), (Outcome.LOST, TaskLost)],
)
def test_what_became_of_a_task_has_its_own_type(ours: codec.Codec, outcome: Outcome, kind: type[Exception]) -> None:
    assert type(ours.error(outcome, b"")) is kind
    assert str(ours.error(outcome, wire.failure("", "after 3s"))) == "after 3s"
