"""Who has what in hand and what of it runs, as far as agents have said. Memory only: what must last is the ledger's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from elsewhere.backends.base import NativeId
from elsewhere.model.reports import Ended, Heartbeat

LATE = 20.0
"""Seconds by which a heartbeat may be older than a claim that was heard before it."""

Pair = tuple[int, int]


class Muster:
    """The agents of one job. `slots`, where it is asked for: those of each machine that has not ended."""

    def __init__(self) -> None:
        self._hands: dict[NativeId, dict[int, tuple[int, float]]] = {}
        """Agent -> task -> (attempt, since when), in the order in which they were claimed."""
        self._holders: dict[int, NativeId] = {}
        self._beats: dict[NativeId, Heartbeat] = {}
        self._resting: dict[NativeId, frozenset[int]] = {}
        """What an agent had in hand and did not run although it had a free slot: it waits to be tried again."""

    def took(self, agent: NativeId, pairs: Iterable[Pair], now: float) -> None:
        """It has these, from now on; what it had before stays as it was."""
        hands = self._hands.setdefault(agent, {})
        holders = self._holders
        for n, attempt in pairs:
            if n in holders:
                if n in hands and hands[n][0] == attempt:
                    continue
                self.gone([n])
            hands[n], holders[n] = (attempt, now), agent

    def beat(self, beat: Heartbeat, now: float) -> None:
        self._beats[beat.agent] = beat
        runs, hands = {n for n, _ in beat.running}, self._hands.get(beat.agent, {})
        known = (n for n, (_, since) in hands.items() if now - since > LATE) if beat.free else ()
        self._resting[beat.agent] = frozenset(n for n in known if n not in runs)

    def holders(self, ns: Iterable[int]) -> set[NativeId]:
        """Who has one of these."""
        return {self._holders[n] for n in ns if n in self._holders}

    def ended(self, reports: Iterable[Ended]) -> None:
        """Nobody has these attempts, or earlier ones, any more."""
        hands, holders = self._hands, self._holders
        for report in reports:
            n, holder = report[0], holders.get(report[0])
            if holder is not None and hands[holder][n][0] <= report[1]:
                del hands[holder][n], holders[n]

    def gone(self, ns: Iterable[int]) -> None:
        """Whoever has these, it is no matter any more."""
        for n in ns:
            holder = self._holders.pop(n, None)
            if holder is not None:
                self._hands[holder].pop(n, None)

    def keep(self, slots: Mapping[NativeId, int]) -> None:
        """Forget those that have ended."""
        for agent in [agent for agent in {*self._hands, *self._beats} if agent not in slots]:
            self.gone(list(self._hands.get(agent, {})))
            self._hands.pop(agent, None)
            self._beats.pop(agent, None)
            self._resting.pop(agent, None)

    def running(self, slots: Mapping[NativeId, int], now: float) -> list[tuple[int, int, float]]:
        """(n, attempt, seconds): what was said to run, and besides what was claimed, up to the slots that there are."""
        found = []
        for agent, hands in self._hands.items():
            if agent not in slots or not hands:
                continue
            beat, resting = self._beats.get(agent), self._resting.get(agent, frozenset())
            said = [n for n, attempt in beat.running if n in hands and hands[n][0] == attempt] if beat else []
            others = (n for n in hands if n not in said and n not in resting)
            for n in [*said, *islice(others, max(0, slots[agent] - len(said)))]:
                found.append((n, hands[n][0], now - hands[n][1]))
        return found

    def idle(self) -> set[NativeId]:
        """Those whose last word was that nothing runs there."""
        return {agent for agent, beat in self._beats.items() if not beat.running}

    def has_spoken(self, agent: NativeId) -> bool:
        return agent in self._beats or agent in self._hands

    def takes_nothing(self, agent: NativeId) -> bool:
        """It has said that it takes nothing more, and so what it has."""
        return agent in self._beats and self._beats[agent].draining
