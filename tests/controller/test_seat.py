"""What is remembered of jobs whose controllers sit elsewhere, and how they are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.controller import away, seat
from elsewhere.controller.directory import call, jobs
from elsewhere.errors import UnknownJob, UsageError
from elsewhere.model import ids
from elsewhere.model.place import Place

AWAY = away.Away("node1", "lab", "ssh", {"hosts": ["node1"]}, ".elsewhere", "we-1", "work-1", ("TOKEN",))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


def test_the_newest_of_a_name_is_meant_wherever_it_is() -> None:
    assert away.find("@last") is None and away.records() == []
    first, here, last = (ids.ulid(n, n) for n in (1, 2, 3))
    away.keep(AWAY, f"job-{first}", "fit", 1.0)
    found = away.find("fit")
    assert found is not None and (found.job, found.host, found.created) == (f"job-{first}", "node1", 1.0)
    assert tuple(found.env) == ("TOKEN",) and dict(found.settings) == {"hosts": ["node1"]}
    (jobs() / f"job-{here}").mkdir()
    call(f"job-{here}", "fit")
    assert away.find("fit") is None and away.find("@last") is None, "one that is here is newer"
    assert away.find(f"job-{first}") == found and away.find(first) == found
    away.keep(AWAY, f"job-{last}", "fit", 3.0)
    assert away.find("fit") == away.find("") == away.records()[0]
    assert [one.created for one in away.records()] == [3.0, 1.0]


def test_a_beginning_of_several_ids_is_refused_and_what_is_forgotten_is_unknown() -> None:
    for number in (1, 2):
        away.keep(AWAY, f"job-{ids.ulid(number, number)}", "", number)
    with pytest.raises(UnknownJob, match="2 jobs begin with 'job-0'"):
        away.find("job-0")
    for one in away.records():
        away.forget(one.job)
        away.forget(one.job)
    assert away.find("job-0") is None


def test_places_without_hosts_and_directories_that_hold_everything_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no controller can sit at local"):
        seat.settle(Place("local", "local"), tmp_path, {}, ())
    with pytest.raises(UsageError, match="all of / would travel"):
        seat.settle(Place("lab", "ssh", {"hosts": ["node1"]}), Path("/"), {}, ())
