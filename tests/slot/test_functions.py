"""What a function of the user's sees, says and leaves behind, in a real slot."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elsewhere.model.job import Entry
from elsewhere.model.reports import Form
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from elsewhere.slot import values, wire
from slot.floor import floor, value

KEY = b"k" * 32


def test_a_function_gets_its_data_by_name_and_its_value_comes_back_as_json(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(a, b=2): return {'sum': a + b}") as here:
        first, second = here.run({"a": 1}, {"a": 1, "b": 5})
    assert (first.outcome, first.form, value(first)) == (Outcome.SUCCEEDED, Form.JSON, {"sum": 3})
    assert value(second) == {"sum": 6}
    assert first.agent == "a1"


def test_none_stays_none_but_in_the_seed_s_door_it_is_an_empty_mapping(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(): pass") as here:
        assert (here.one().form, here.one().value) == (Form.NOTHING, b"")
    with floor(tmp_path, "def f(): pass", seed_door=True) as here:
        assert value(here.one()) == {}


def test_what_json_would_change_is_pickled_only_when_types_matter(tmp_path: Path) -> None:
    code = "def f(): return (1, 2)"
    with floor(tmp_path, code) as here:
        assert value(here.one()) == [1, 2]
    with floor(tmp_path, code, exact=True) as here:
        ended = here.one()
    assert ended.form is Form.PICKLE
    assert values.read(ended.form, ended.value, "", KEY) == (1, 2)


def test_a_value_over_64_kib_goes_to_the_store(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(kind): return 'x' * 100_000 if kind == 'text' else bytes(100_000)") as here:
        text, pickled = here.run({"kind": "text"}, {"kind": "bytes"})
    store = str(tmp_path / "store")
    assert (text.form, pickled.form) == (Form.STORED_JSON, Form.STORED_PICKLE)
    assert values.read(text.form, text.value, store, KEY) == "x" * 100_000
    assert values.read(pickled.form, pickled.value, store, KEY) == bytes(100_000)


def test_an_exception_is_told_with_the_user_s_own_traceback_and_travels_with_its_cause(tmp_path: Path) -> None:
    code = """
    import sys
    def inner(): raise KeyError("no such key")
    def f():
        print("before the end", file=sys.stderr)
        try: inner()
        except KeyError as error: raise ValueError("bad value") from error
    """
    with floor(tmp_path, code) as here:
        ended = here.one()
    told = value(ended)
    assert (ended.outcome, told["type"], told["message"]) == (Outcome.ERRORED, "ValueError", "bad value")
    assert told["stderr"] == "before the end\n"
    assert "user_work.py" in told["traceback"] and "attempts.py" not in told["traceback"]
    error = values.load_error(values.unseal(KEY, base64.b64decode(told["pickle"])))
    assert isinstance(error, ValueError) and isinstance(error.__cause__, KeyError)


def test_done_again_and_fail_are_honoured(tmp_path: Path) -> None:
    code = """
    from elsewhere import Again, Done, Fail
    def f(say):
        return {"done": Done(7), "again": Again("not yet", after=2.5, state={"at": 3}), "fail": Fail("never")}[say]
    """
    with floor(tmp_path, code) as here:
        done, again, fail = here.run({"say": "done"}, {"say": "again"}, {"say": "fail"})
    assert (done.outcome, value(done)) == (Outcome.SUCCEEDED, 7)
    assert again.outcome is Outcome.ASKED_AGAIN
    assert value(again) == {"type": "Again", "message": "not yet", "after": 2.5, "state": {"at": 3}}
    assert (fail.outcome, value(fail)["message"]) == (Outcome.REJECTED, "never")


def test_three_parameters_of_the_seed_s_names_are_called_so(tmp_path: Path) -> None:
    code = """
    def f(task_id, task_data, worker_data):
        if task_data.get("odd"): return 5
        told = [task_id, worker_data.num_cpus, worker_data.args.depth, worker_data.received_termination_notice]
        return task_data["ok"], told
    """
    with floor(tmp_path, code, worker={"num_cpus": 4, "args": {"depth": 2}}) as here:
        good, again, wrong = here.run({"ok": True}, {"ok": False}, {"odd": True})
    assert value(good) == ["task-1", 4, 2, False]
    assert again.outcome is Outcome.ASKED_AGAIN
    assert wrong.outcome is Outcome.ERRORED and "(success, result)" in value(wrong)["message"]


def test_async_functions_work_and_share_a_loop(tmp_path: Path) -> None:
    code = """
    import asyncio
    seen = set()
    async def f():
        await asyncio.sleep(0)
        seen.add(asyncio.get_running_loop())
        return len(seen)
    """
    with floor(tmp_path, code) as here:
        assert [value(ended) for ended in here.run({}, {}, {})] == [1, 1, 1]


def test_the_task_at_hand_tells_its_id_attempt_time_and_state(tmp_path: Path) -> None:
    code = """
    from elsewhere import current_task
    def f():
        task = current_task()
        return [task.id, task.attempt, task.time_left.total_seconds(), task.state, task.stopping, task.env["OWN"]]
    """
    with floor(tmp_path, code, timeout=timedelta(seconds=50)) as here:
        told = value(here.one(options={"timeout": 20, "state": [1], "env": {"OWN": "yes"}}, attempt=3))
    assert told[:2] == ["task-1", 3] and 15 < told[2] <= 20 and told[3:] == [[1], False, "yes"]


def test_a_task_s_own_variables_are_gone_after_it(tmp_path: Path) -> None:
    with floor(tmp_path, "import os\ndef f(): return os.environ.get('OWN')") as here:
        assert value(here.one(options={"env": {"OWN": "1"}})) == "1"
        assert value(here.one()) is None


def test_scratch_is_emptied_and_a_checkpoint_stays_until_success(tmp_path: Path) -> None:
    code = """
    import os
    from elsewhere import current_task
    def f(fail):
        task = current_task()
        before = [os.listdir(task.scratch), os.listdir(task.checkpoint)]
        for place in (task.scratch, task.checkpoint): open(os.path.join(place, "left"), "w").close()
        if fail: raise RuntimeError(before)
        return before
    """
    with floor(tmp_path, code) as here:
        slots, ids = here.slots, []
        for attempt, fail in ((1, True), (2, False), (3, False)):
            from elsewhere.model.task import Delivery

            slots.put([Delivery(1, attempt, "same/task", b'{"fail": %s}' % str(fail).lower().encode())])
            here.until(lambda n=attempt: len(here.all) == n)  # type: ignore[misc]
            ids.append(value(here.all[-1]))
    assert ids[0]["message"] == "[[], []]"
    assert ids[1:] == [[[], ["left"]], [[], []]]


def test_outside_a_slot_there_is_a_task_too() -> None:
    from elsewhere.slot.task import current_task

    task = current_task()
    assert (task.id, task.attempt, task.time_left, task.stopping, task.state) == ("", 0, None, False, None)


def test_an_interpreter_without_elsewhere_borrows_it_and_meets_the_same_objects(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import elsewhere"], capture_output=True, cwd="/", env={}).returncode != 1:
        pytest.skip("needs a system Python that has no elsewhere")
    code = """
    import sys
    from elsewhere import current_task, Done
    import cloudpickle
    from elsewhere.slot.task import Done as Same
    def f(): return Done([current_task().id, Same is Done, sys.version_info[0], sys.path[0]])
    """
    with floor(tmp_path, code, python=python) as here:
        assert value(here.one()) == ["task-1", True, 3, str(tmp_path / "work")]


def test_nothing_of_ours_lies_on_the_path(tmp_path: Path) -> None:
    code = """
    import sys
    def f():
        found = []
        for name in ("wire", "serve", "task", "values"):
            try: __import__(name); found.append(name)
            except ImportError: pass
        return [found, [place for place in sys.path if "slot" in place.split("elsewhere")[-1]]]
    """
    with floor(tmp_path, code) as here:
        assert value(here.one())[0] == []


def test_a_module_that_cannot_be_imported_rejects_every_task_with_the_user_s_traceback(tmp_path: Path) -> None:
    with floor(tmp_path, "import no_such_thing\ndef f(): pass", count=2) as here:
        ended = here.run(*[{}] * 20)
        assert len(here.pids()) == 2
    assert {one.outcome for one in ended} == {Outcome.REJECTED}
    told = value(ended[-1])
    assert told["type"] == "ModuleNotFoundError" and "user_work.py" in told["traceback"]
    assert "serve.py" not in told["traceback"] and "entry.py" not in told["traceback"]


def test_a_result_that_will_not_pickle_names_the_object(tmp_path: Path) -> None:
    with floor(tmp_path, "import threading\ndef f(): return {'model': [1, threading.Lock()]}") as here:
        ended = here.one()
    assert ended.outcome is Outcome.REJECTED
    assert "result['model'][1] (a _thread.lock)" in value(ended)["message"]


def test_in_the_seed_s_door_a_result_must_be_json(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(): return {'a': {1, 2}}", seed_door=True) as here:
        told = value(here.one())
    assert told["type"] == "result is not JSON" and "result['a']" in told["message"]


def test_data_that_is_not_json_rejects_that_task_alone(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(a): return a") as here:
        here.one({"a": 0})
        good, bad, also = here.run({"a": 1}, b'{"a": ', {"a": 3})
    assert (value(good), value(also), bad.outcome) == (1, 3, Outcome.REJECTED)


def test_each_attempt_s_output_lies_between_its_own_bounds_as_bytes(tmp_path: Path) -> None:
    code = r"""
    import ctypes, os, subprocess, sys
    def f(k):
        if k == 0: return
        print("text", k)
        sys.stdout.buffer.write(b"\x00\xff\x1b[31m%d\n" % k)
        subprocess.run(["echo", f"child {k}"])
        ctypes.CDLL(None).printf(b"c code\n")
        os.write(2, b"err\n" * k)
    """
    with floor(tmp_path, code) as here:
        ended = here.run(*[{"k": k} for k in range(4)])
        assert ended[0].output is None
        for k in (1, 2, 3):
            out = here.output(ended[k])
            for part in (b"text %d\n" % k, b"\x00\xff\x1b[31m%d\n" % k, b"child %d\n" % k, b"c code\n"):
                assert out.count(part) == 1
            assert out.count(b"\n") == 4
            assert here.output(ended[k], "err") == b"err\n" * k


def test_a_line_is_there_as_soon_as_it_is_printed(tmp_path: Path) -> None:
    code = """
    import pathlib, time
    def f(go):
        print("begins")
        while not pathlib.Path(go).exists(): time.sleep(0.02)
        print("ends")
    """
    go = tmp_path / "go"
    with floor(tmp_path, code) as here:
        [n] = here.put({"go": str(go)})
        here.until(lambda: b"begins\n" in b"".join(one.read_bytes() for one in here.directory.glob("*.out")))
        go.touch()
        [ended] = here.finish(n)
        assert here.output(ended) == b"begins\nends\n"


def test_output_rolls_to_new_files_between_tasks(tmp_path: Path) -> None:
    code = "import os\ndef f(size):\n    left = size\n    while left: left -= os.write(1, bytes(min(left, 1 << 24)))"
    with floor(tmp_path, code) as here:
        large, small = here.one({"size": 65 << 20}), here.one({"size": 10})
    assert large.output is not None and small.output is not None
    assert (large.output.roll, large.output.out_to) == (0, 65 << 20)
    assert (small.output.roll, small.output.out_from, small.output.out_to) == (1, 0, 10)


def test_running_out_of_memory_is_told_as_such_and_the_slot_lives_on(tmp_path: Path) -> None:
    code = "import os\ndef f(size): return [len(bytes(size)) and os.getpid()]"
    with floor(tmp_path, code, resources=Resources(memory=64 << 20)) as here:
        small, large, after = here.run({"size": 1}, {"size": 500 << 20}, {"size": 1 << 20})
    assert (small.outcome, large.outcome, after.outcome) == (
        Outcome.SUCCEEDED, Outcome.OUT_OF_MEMORY, Outcome.SUCCEEDED,
    )  # fmt: skip
    assert value(small) == value(after)


def test_an_idle_slot_holds_less_than_20_mb(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(): pass") as here:
        here.one()
        status = Path(f"/proc/{here.pids()[0]}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 20_000, f"{resident} KB"


class TestCalls:
    def entry(self, tmp_path: Path, function: object, key: bytes = KEY) -> Entry:
        import cloudpickle  # type: ignore[import-untyped,unused-ignore]

        store = tmp_path / "store"
        return Entry("call", values.keep_pickle(str(store), key, cloudpickle.dumps(function), []))

    def test_a_function_travels_by_value_and_is_called_with_its_arguments(self, tmp_path: Path) -> None:
        scale = 10
        entry = self.entry(tmp_path, lambda a, b=0: (a + b) * scale)
        pickled = base64.b64encode(values.seal(KEY, values.dump(((1 + 2j,), {"b": 1})))).decode()
        with floor(tmp_path, entry=entry, exact=True) as here:
            plain, rich = here.run({"args": [1], "kwargs": {"b": 2}}, {"pickle": pickled})
        assert value(plain) == 30
        assert values.read(rich.form, rich.value, "", KEY) == (2 + 2j) * 10

    def test_large_arrays_go_both_ways_through_files_and_can_be_written(self, tmp_path: Path) -> None:
        import numpy

        def double(array):  # type: ignore[no-untyped-def]
            array *= 2
            return array

        array = numpy.arange(1_000_000, dtype="f8")
        buffers: list[object] = []
        body = values.dump(((array,), {}), buffers)
        stored = values.keep_pickle(str(tmp_path / "store"), KEY, body, buffers)
        with floor(tmp_path, entry=self.entry(tmp_path, double), python=sys.executable) as here:
            ended = here.one({"stored": stored})
        assert ended.form is Form.STORED_PICKLE
        result = values.read(ended.form, ended.value, str(tmp_path / "store"), KEY)
        assert result[-1] == 2 * 999_999
        again = values.open_pickle(str(tmp_path / "store"), KEY, stored)[0][0]
        assert again[-1] == 999_999, "what a task writes into its argument must not reach the file"

    def test_what_was_not_sealed_by_the_job_is_never_opened(self, tmp_path: Path) -> None:
        trap = base64.b64encode(values.seal(b"x" * 32, values.dump(((1,), {})))).decode()
        with floor(tmp_path, entry=self.entry(tmp_path, lambda a: a)) as here:
            bad, good = here.run({"pickle": trap}, {"args": [1], "kwargs": {}})
        assert bad.outcome is Outcome.REJECTED and "seal" in value(bad)["message"]
        assert value(good) == 1

    def test_arguments_that_are_nowhere_are_said_to_be_so_and_not_tried_again(self, tmp_path: Path) -> None:
        with floor(tmp_path, entry=self.entry(tmp_path, lambda a: a)) as here:
            bad, good = here.run({"stored": "0123abcd"}, {"args": [1], "kwargs": {}})
        assert (bad.outcome, value(bad)["type"]) == (Outcome.REJECTED, "PayloadError")
        assert "arguments cannot be read here: FileNotFoundError" in value(bad)["message"]
        assert value(good) == 1

    def test_a_function_that_was_not_sealed_by_the_job_is_never_opened(self, tmp_path: Path) -> None:
        with floor(tmp_path, entry=self.entry(tmp_path, print, b"x" * 32)) as here:
            ended = here.one({"args": [], "kwargs": {}})
        assert ended.outcome is Outcome.REJECTED and "seal" in value(ended)["message"]


_ISOLATED = """
    import os
    def f(): print("once"); return os.getpid()
"""


@pytest.mark.parametrize("more", [{}, {"resources": Resources(memory=256 << 20)}])
def test_a_slot_that_forks_practises_without_leaving_a_trace(tmp_path: Path, more: dict[str, Any]) -> None:
    with floor(tmp_path, _ISOLATED, isolate=True, **more) as here:
        ended = here.run({}, {})
        slot = here.pids()[0]
        written = b"".join(path.read_bytes() for path in here.directory.glob("*.outcomes"))
        assert [here.output(one) for one in ended] == [b"once\n"] * 2
    assert [record[:2] for record in wire.unpack(written)[0]] == [(one.n, one.attempt) for one in ended]
    assert len({slot, *map(value, ended)}) == 3, "each ran in a process of its own"
