"""Results that are kept by content: when two calls share one, and when they must not."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from elsewhere.slot.memo import Memo, key


@dataclass
class Point:
    x: float


def sub(a: Any, b: Any) -> Any:
    return a - b


def of(*args: Any, **kwargs: Any) -> str:
    return key(sub, args, kwargs)


DIFFERENT: list[tuple[Any, ...]] = [
    (5, 3), (3, 5), ("5", 3), (5.0, 3), (True, 3), (1, 3), (b"5", 3), (None, 3), ([5], 3), ((5,), 3), ({5}, 3),
    (frozenset({5}), 3), ({5: 3},), ([5, 3],), ((5, 3),), ([[5], 3],), ("ab", "c"), ("a", "bc"), ("", "abc"),
    ("nothing.txt", 1), (Path("nothing.txt"), 1), (Point(1), 1), (Point(2), 1), (float("nan"), 1), (0.0, 1), (-0.0, 1),
]  # fmt: skip


def test_arguments_that_differ_in_value_type_order_or_shape_never_share() -> None:
    numpy = pytest.importorskip("numpy")
    flat = numpy.arange(4)
    more = [(flat, 1), (flat.reshape(2, 2), 1), (flat.astype("int32"), 1), (flat[::-1], 1)]
    found = [of(*args) for args in [*DIFFERENT, *more]] + [of(5, b=3), of(a=5, b=3)]
    assert len(set(found)) == len(found)


def test_the_same_is_the_same_in_another_process() -> None:
    text = "from elsewhere.slot.memo import key; import math\nprint(key(math.hypot, (1, {'a': [2.5, {3, 'x'}]}), {}))"
    said = {subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
            for seed in ("1", "2")}  # fmt: skip
    assert len(said) == 1


def made(text: str, name: str = "f", **names: Any) -> Callable[..., Any]:
    """A function of this text, as a script would have it."""
    space: dict[str, Any] = {"__name__": "__main__", **names}
    exec(text, space)
    found: Callable[..., Any] = space[name]
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x + 1", "def f(x): return x + 2"),
        ("def f(x): return x + 1", "def f(x): return x - 1"),
        ("def f(x, y=1): return x + y", "def f(x, y=2): return x + y"),
        ("def f(x, *, y=1): return x + y", "def f(x, *, y=2): return x + y"),
        ("Y = 1\ndef f(x): return x + Y", "Y = 2\ndef f(x): return x + Y"),
        ("def g(x): return 1\ndef f(x): return g(x)", "def g(x): return 2\ndef f(x): return g(x)"),
        ("def h(): return 1\ndef g(): return h()\ndef f(x): return g()",
         "def h(): return 2\ndef g(): return h()\ndef f(x): return g()"),
        ("def m(y):\n def f(x): return x + y\n return f\nf = m(1)",
         "def m(y):\n def f(x): return x + y\n return f\nf = m(2)"),
        ("def f(x):\n def g(): return 1\n return g()", "def f(x):\n def g(): return 2\n return g()"),
        ("class C:\n def m(self): return 1\ndef f(x): return C().m()",
         "class C:\n def m(self): return 2\ndef f(x): return C().m()"),
        ("class B:\n def m(self): return 1\nclass C(B): pass\ndef f(x): return C().m()",
         "class B:\n def m(self): return 2\nclass C(B): pass\ndef f(x): return C().m()"),
        ("from math import sin as s\ndef f(x): return s(x)", "from math import cos as s\ndef f(x): return s(x)"),
        ("def f(x): import math\n", "def f(x): import cmath\n"),
        ("f = lambda x: x.real", "f = lambda x: x.imag"),
    ],
)  # fmt: skip
def test_functions_that_may_do_something_else_never_share(one: str, other: str) -> None:
    assert key(made(one), (1,), {}) != key(made(other), (1,), {})


def test_what_a_function_calls_in_a_module_of_ones_own_counts_by_its_source_also_behind_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_outer.py").write_text("import mine_inner\ndef g(x): return mine_inner.h(x)\n")
    (tmp_path / "mine_inner.py").write_text("def h(x): return x\n")
    text = "import mine_outer\ndef f(x): return mine_outer.g(x)"
    before = key(made(text), (1,), {})
    assert before == key(made(text), (1,), {})
    (tmp_path / "mine_inner.py").write_text("def h(x): return -x\n")
    assert before != key(made(text), (1,), {})


def test_a_file_that_is_given_as_a_path_is_its_bytes(tmp_path: Path) -> None:
    file, folder = tmp_path / "a", tmp_path / "d"
    folder.mkdir()
    (folder / "b").write_text("1")
    file.write_text("1")
    one = of(file, folder)
    file.touch()
    assert of(file, folder) == one
    file.write_text("2")
    other = of(file, folder)
    (folder / "b").write_text("2")
    assert len({one, other, of(file, folder)}) == 3


def test_a_result_is_computed_once_and_none_is_a_result(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"def f(x):\n with open({str(log)!r}, 'a') as file: file.write(str(x))\n return None if x == 2 else -x"
    results = tmp_path / "results"
    memo = Memo(made(text), str(results))
    assert [memo(x) for x in (1, 2, 1, 2)] == [-1, None, -1, None]
    assert log.read_text() == "12"
    assert [Memo(made(text), str(results))(1), Memo(made(text), str(results), again=True)(1)] == [-1, -1]
    assert log.read_text() == "121"
    assert all(path.stat().st_mode & 0o77 == 0 for path in results.iterdir())


def test_what_cannot_be_told_from_others_or_cannot_be_kept_is_computed_all_the_same(tmp_path: Path) -> None:
    lock = threading.Lock()
    assert Memo(lambda x: 3, str(tmp_path))(lock) == 3
    assert Memo(lambda x: lock, str(tmp_path))(1) is lock
    assert list(tmp_path.iterdir()) == []
    broken = Memo(functools.partial(sub, 5), str(tmp_path))
    assert broken(3) == 2
    next(tmp_path.iterdir()).write_bytes(b"torn")
    assert broken(3) == 2
    with pytest.raises(ZeroDivisionError):
        Memo(lambda x: 1 / x, str(tmp_path))(0)
