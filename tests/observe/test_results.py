"""Results as streams: every record readable, in the order of the list, whatever the value."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elsewhere.model.reports import Form
from elsewhere.model.states import Outcome
from elsewhere.observe.results import form_of, write
from observe.told import Told

Make = Callable[..., Told]


def lines(told: Told, store: Path, failed: bool = False) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(write(told.ledger, store, "jsonl", failed)).splitlines()]


def table(told: Told, store: Path, failed: bool = False) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(write(told.ledger, store, "csv", failed)).decode())))


def test_one_record_a_task_in_the_order_of_the_list(told: Make, tmp_path: Path) -> None:
    job = told(3)
    job.take()
    job.end(3, value=b'{"a": "\xc3\xa9"}')
    job.fail(2, exit_code=4, traceback="Traceback ...")
    job.end(1, value=b"[1,2.5,null]")

    first, second, third = lines(job, tmp_path)

    assert (first["task_id"], first["state"], first["result"]) == ("t1", "succeeded", [1, 2.5, None])
    assert third["result"] == {"a": "é"}
    assert third["seconds"] == 1.5
    assert second["error"]["reason"] == "ValueError: no good (exit status 4)"
    assert second["error"]["traceback"] == "Traceback ..."
    assert "result" not in second


def test_only_those_that_failed(told: Make, tmp_path: Path) -> None:
    job = told(3)
    job.take()
    job.end(1)
    job.fail(2)

    assert [row["task_id"] for row in lines(job, tmp_path, failed=True)] == ["t2"]


def test_what_has_not_ended_is_not_among_them_and_what_was_cancelled_is(told: Make, tmp_path: Path) -> None:
    job = told(3)
    with job.ledger.moving():
        job.ledger.cancel(["t2"])

    (row,) = lines(job, tmp_path)

    assert (row["task_id"], row["state"]) == ("t2", "cancelled")


def test_a_large_result_comes_from_the_store_in_pieces(told: Make, tmp_path: Path) -> None:
    job = told(1)
    big = json.dumps({"x": "y" * 1_000_000}).encode()
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "abcd").write_bytes(big)
    job.take()
    job.end(1, value=b"abcd", form=Form.STORED_JSON)

    pieces = list(write(job.ledger, tmp_path))

    assert max(map(len, pieces)) <= 1 << 18
    assert json.loads(b"".join(pieces))["result"]["x"] == "y" * 1_000_000


def test_a_large_result_whose_file_is_gone_is_told(told: Make, tmp_path: Path) -> None:
    job = told(1)
    job.take()
    job.end(1, value=b"abcd", form=Form.STORED_JSON)

    assert "No such file" in lines(job, tmp_path)[0]["result"]["missing"]


def test_a_pickle_is_named_and_never_opened(told: Make, tmp_path: Path) -> None:
    job = told(1)
    job.take()
    job.end(1, value=b"cos\nsystem\n(S'false'\ntR.", form=Form.PICKLE)

    assert lines(job, tmp_path)[0]["result"] == {"pickled": 24}


def test_json_is_one_array(told: Make, tmp_path: Path) -> None:
    job = told(2)
    assert json.loads(b"".join(write(job.ledger, tmp_path, "json"))) == []
    job.take()
    job.end(1)
    job.fail(2, Outcome.TIMED_OUT, "TimedOut", "after 3s")

    rows = json.loads(b"".join(write(job.ledger, tmp_path, "json")))

    assert [row["task_id"] for row in rows] == ["t1", "t2"]
    assert rows[1]["error"]["outcome"] == "timed_out"


def test_csv_has_a_column_for_each_key(told: Make, tmp_path: Path) -> None:
    job = told(3)
    job.take()
    job.end(1, value=b'{"a": 1, "state": "x"}')
    job.end(2, value=b'{"b": [1, 2], "a": null}')
    job.fail(3)

    rows = table(job, tmp_path)

    assert [row["a"] for row in rows] == ["1", "", ""]
    assert [row["result.state"] for row in rows] == ["x", "", ""]
    assert rows[1]["b"] == "[1, 2]"
    assert rows[2]["error"] == "ValueError: no good"


def test_csv_of_other_values_has_one_column(told: Make, tmp_path: Path) -> None:
    job = told(2)
    job.take()
    job.end(1, value=b'{"a": 1}')
    job.end(2, value=b'"x,\\"y\\""')

    rows = table(job, tmp_path)

    assert [json.loads(row["result"]) for row in rows] == [{"a": 1}, 'x,"y"']


def test_csv_of_failures_has_no_result_columns(told: Make, tmp_path: Path) -> None:
    job = told(2)
    job.take()
    job.end(1, value=b'{"a": 1}')
    job.fail(2)

    (row,) = table(job, tmp_path, failed=True)

    assert set(row) == {"task_id", "state", "attempt", "started", "seconds", "error"}


def test_the_suffix_says_the_format() -> None:
    assert [form_of(Path(name)) for name in ("a.csv", "a.JSON", "a.jsonl", "a", "a.ndjson")] == [
        "csv",
        "json",
        "jsonl",
        "jsonl",
        "jsonl",
    ]
