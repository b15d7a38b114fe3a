"""A place that lists no longer what has ended, and keeps books of it: how a machine ended is read there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controller.test_spending import Scene
from elsewhere.backends.base import Condition, NativeId, Sighting
from elsewhere.ledger.allocations import allocations
from elsewhere.testing.fake import FakeBackend


class Forgets(FakeBackend):
    known = True

    def owned(self) -> Iterable[Sighting]:
        return [seen for seen in super().owned() if seen.condition in (Condition.PENDING, Condition.RUNNING)]

    def recall(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        self.log.append(("recall", tuple(sorted(ids))))
        return {seen.native: seen for seen in super().owned() if seen.native in ids} if self.known else {}


def begun(known: bool = True) -> tuple[Scene, Forgets, list[str]]:
    scene = Scene(Forgets)
    place = scene.backend
    assert isinstance(place, Forgets)
    place.known = known
    scene.turn()
    scene.turn()
    return scene, place, [seen.native for seen in place.owned()]


def test_what_is_not_listed_any_more_is_looked_up_all_in_one_call_and_what_is_listed_is_not() -> None:
    scene, place, natives = begun()
    assert not [what for verb, what in place.log if verb == "recall"]
    first, second = sorted(natives)
    place.preempt(first, "taken back for another")
    place.crash(second, "its script ended badly (exit status 3)")
    scene.turn()
    assert next(what for verb, what in place.log if verb == "recall") == (first, second)
    ended = {one.native: (one.reason, one.reclaimed, one.crashed) for one in allocations(scene.ledger)}
    assert ended[first] == ("taken back for another", True, False)
    assert ended[second] == ("its script ended badly (exit status 3)", False, True)


def test_what_the_books_do_not_have_either_is_gone_after_a_while_as_before() -> None:
    scene, place, natives = begun(known=False)
    place.preempt(natives[0])
    scene.turn()
    assert not any(one.reason == "vanished" for one in allocations(scene.ledger)), "once is no proof"
    scene.turn(minutes=1)
    assert [one.native for one in allocations(scene.ledger) if one.reason == "vanished"] == [natives[0]]
