"""What a backend must do: one test for each answer of its verbs' docstrings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from elsewhere.backends.base import Backend, Condition, Finding, Launch, NativeId, Sighting, Traits
from elsewhere.errors import NotFound
from elsewhere.model import ids
from elsewhere.model.resources import Resources

ALIVE = (Condition.PENDING, Condition.RUNNING)
BOUND = 60.0
STAYS = "#!/bin/sh\necho it boots\nexec sleep 600\n"


class BackendConformance:
    """Subclass it and give a fixture `backend`, with nothing of ours at its place; stop what is left afterwards.

    `let_time_pass` is called between two looks; where the clock is a fake one, move it there. `runs_texts` is False
    for a place that boots nothing real: the tests of what a boot text does are left out.
    """

    runs_texts = True
    shape = Resources()

    def let_time_pass(self, backend: Backend) -> None:
        time.sleep(0.05)

    def again(self, backend: Backend) -> Backend:
        """A backend of the same place, as another process would build it."""
        return backend

    # --- helpers

    def launch(self, count: int = 1, script: str = STAYS, **labels: str) -> Launch:
        owned = {"job": ids.new("job"), "owner": "conformance", "expiry": "2100-01-01T00:00:00+00:00", **labels}
        launch = ids.new("lch")
        start_by = datetime.now(UTC) + timedelta(hours=1)
        return Launch(launch, count, script, self.shape, timedelta(minutes=30), start_by, {"launch": launch, **owned})

    def until(self, backend: Backend, true: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND
        while not true():
            assert time.monotonic() < end, "it did not come"
            self.let_time_pass(backend)

    def see(self, backend: Backend, native: NativeId) -> Sighting | None:
        return backend.status([native]).get(native)

    def all_of(self, backend: Backend) -> set[NativeId]:
        """Every machine that this test can have made; narrower than `owned` where others use the place too."""
        return {sighting.native for sighting in backend.owned()}

    def is_in(self, backend: Backend, native: NativeId, *conditions: Condition) -> bool:
        seen = self.see(backend, native)
        return seen is not None and seen.condition in conditions

    # --- what it is

    def test_its_settings_are_a_frozen_dataclass_and_its_traits_are_data(self, backend: Backend) -> None:
        assert dataclasses.is_dataclass(backend.Settings)
        assert backend.Settings.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert isinstance(backend.traits, Traits)
        assert backend.traits.channels

    # --- offers

    def test_an_offer_meets_the_need_and_an_impossible_need_has_none(self, backend: Backend) -> None:
        offers = backend.offers(self.shape)
        assert offers
        assert all(offer.resources.cpus >= self.shape.cpus for offer in offers)
        assert [offer.price for offer in offers] == sorted(offer.price for offer in offers)
        assert list(backend.offers(Resources(cpus=1_000_000))) == []

    # --- submit

    def test_as_many_machines_come_up_as_were_asked_for(self, backend: Backend) -> None:
        natives = backend.submit(self.launch(3))
        assert len(set(natives)) == len(natives) == 3
        self.until(backend, lambda: all(self.is_in(backend, n, Condition.RUNNING) for n in natives))

    def test_the_same_launch_gives_the_same_set(self, backend: Backend) -> None:
        launch = self.launch(2)
        natives = backend.submit(launch)
        assert set(backend.submit(launch)) == set(natives)
        assert set(self.again(backend).submit(launch)) == set(natives)
        self.until(backend, lambda: all(self.is_in(backend, n, Condition.RUNNING) for n in natives))
        assert set(backend.submit(launch)) == set(natives)
        mine = [s for s in backend.owned() if s.labels.get("launch") == launch.id and s.condition in ALIVE]
        assert {s.native for s in mine} == set(natives)

    def test_two_launches_share_no_machine(self, backend: Backend) -> None:
        assert not set(backend.submit(self.launch(2))) & set(backend.submit(self.launch(2)))

    def test_a_launch_that_was_stopped_is_not_begun_again(self, backend: Backend) -> None:
        launch = self.launch()
        natives = backend.submit(launch)
        self._stop(backend, natives)
        backend.submit(launch)
        for _ in range(5):
            self.let_time_pass(backend)
            assert not any(self.is_in(backend, native, *ALIVE) for native in natives)

    # --- status, owned

    def test_what_it_does_not_know_is_absent_from_the_answer(self, backend: Backend) -> None:
        (native,) = backend.submit(self.launch())
        self.until(backend, lambda: self.see(backend, native) is not None)
        assert set(backend.status([native, "no-such-machine", "lch-none.7"])) == {native}
        assert backend.status([]) == {}

    def test_the_labels_of_the_launch_are_on_each_machine(self, backend: Backend) -> None:
        launch = self.launch(2, note='it\'s "here" $HOME ä')
        natives = backend.submit(launch)
        self.until(backend, lambda: set(natives) <= {s.native for s in backend.owned()})
        for sighting in backend.owned():
            if sighting.native in natives:
                assert launch.labels.items() <= sighting.labels.items()
        assert all(launch.labels.items() <= s.labels.items() for s in backend.status(natives).values())

    def test_another_process_sees_what_we_forgot(self, backend: Backend) -> None:
        natives = backend.submit(self.launch(2))
        self.until(backend, lambda: set(natives) <= {s.native for s in self.again(backend).owned()})

    def test_times_are_aware_and_in_order(self, backend: Backend) -> None:
        (native,) = backend.submit(self.launch())
        self.until(backend, lambda: self.is_in(backend, native, Condition.RUNNING))
        self._stop(backend, [native])
        seen = self.see(backend, native)
        if seen is not None:
            assert seen.started is not None and seen.started.tzinfo is not None
            assert seen.ended is not None and seen.ended >= seen.started

    # --- cancel

    def test_cancel_ends_what_is_named_and_nothing_else(self, backend: Backend) -> None:
        first, second = backend.submit(self.launch(2))
        self.until(backend, lambda: all(self.is_in(backend, n, Condition.RUNNING) for n in (first, second)))
        self._stop(backend, [first])
        assert self.is_in(backend, second, Condition.RUNNING)

    def test_cancel_of_what_is_gone_or_never_was_is_success(self, backend: Backend) -> None:
        natives = backend.submit(self.launch())
        self._stop(backend, natives)
        backend.cancel(natives)
        backend.cancel(["no-such-machine", "lch-none.7"])
        backend.cancel([])

    # --- logs, check

    def test_logs_of_what_is_not_known_are_not_found(self, backend: Backend) -> None:
        with pytest.raises(NotFound):
            backend.logs("lch-none.7")

    def test_check_says_what_it_looked_at_and_creates_nothing(self, backend: Backend) -> None:
        before = self.all_of(backend)
        findings = list(backend.check())
        assert findings and all(isinstance(finding, Finding) and finding.what for finding in findings)
        assert all(finding.ok for finding in findings)
        assert self.all_of(backend) == before

    # --- what becomes of a boot text

    def _texts(self) -> None:
        if not self.runs_texts:
            pytest.skip("it boots nothing real")

    def test_the_boot_text_runs_and_what_it_prints_is_kept_from_any_byte(self, backend: Backend) -> None:
        self._texts()
        (native,) = backend.submit(self.launch(script="#!/bin/sh\necho 'one two'\necho three >&2\nexec sleep 600\n"))
        self.until(backend, lambda: b"three" in backend.logs(native))
        whole = backend.logs(native)
        assert b"one two" in whole
        assert backend.logs(native, 4) == whole[4:]
        assert backend.logs(native, len(whole) + 100) == b""

    def test_a_text_that_ends_well_is_seen_as_stopped(self, backend: Backend) -> None:
        self._texts()
        (native,) = backend.submit(self.launch(script="#!/bin/sh\nexit 0\n"))
        self.until(backend, lambda: not self.is_in(backend, native, *ALIVE))
        seen = self.see(backend, native)
        assert seen is None or seen.condition is Condition.STOPPED

    def test_a_text_that_fails_is_seen_as_failed(self, backend: Backend) -> None:
        self._texts()
        (native,) = backend.submit(self.launch(script="#!/bin/sh\nexit 7\n"))
        self.until(backend, lambda: not self.is_in(backend, native, *ALIVE))
        seen = self.see(backend, native)
        assert seen is None or seen.condition is Condition.FAILED

    def _stop(self, backend: Backend, natives: object) -> None:
        named = list(natives)  # type: ignore[call-overload]
        self.until(backend, lambda: set(backend.status(named)) == set(named))  # absent is not the same as gone
        backend.cancel(named)
        self.until(backend, lambda: not any(self.is_in(backend, native, *ALIVE) for native in named))
