"""The crew of this machine: what was sent is in its hands, whether its agent has claimed it yet or not."""

from __future__ import annotations

from pathlib import Path

from elsewhere.controller.here import Here
from elsewhere.model.reports import Ended
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from slot.floor import eventually, floor


def test_a_task_that_is_cancelled_before_it_is_claimed_never_begins_and_the_others_do(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with floor(tmp_path, f"def f(k): open({str(ran)!r}, 'a').write(k)", count=2) as here:
        crew = Here("a1", here.slots, here.slots._selector)
        crew.channel.send([
            Delivery(n, 1, f"t{n}", f'{{"k": "{n}"}}'.encode(), alone=n > 2) for n in (1, 2, 3, 4)
        ])  # fmt: skip
        crew.cancel([1, 4])

        def all_ended() -> bool:
            crew.turn(0.05)
            return len(crew.channel.collect(9)) == 4

        eventually(all_ended)
        reports = [receipt.report for receipt in crew.channel.collect(9)]
    ended = {report.n: report.outcome for report in reports if isinstance(report, Ended)}
    done, gone = Outcome.SUCCEEDED, Outcome.CANCELLED
    assert ended == {1: gone, 2: done, 3: done, 4: gone}
    assert sorted(ran.read_text()) == ["2", "3"]
