"""What an agent decides about the deliveries in its hands, and about its own end. Pure: no I/O, no clock, no chance.

Whoever drives this makes the steps in the order in which they stand in `Steps`: stops, reports with their
acknowledgements (reports first), hand-backs, then runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from elsewhere.channels.base import Claim, Room
from elsewhere.model.orders import Orders
from elsewhere.model.place import ending
from elsewhere.model.reports import Claimed, Ended, Form, Report
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, RetryPolicy

FAILING = (Outcome.ERRORED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.REJECTED, Outcome.LOST)
"""How an attempt ends that may be its task's last."""


_LET_GO = {"type": "GivenUp", "message": "its machine had to let go of it"}
WARN = 60.0
"""Seconds between the first word of a machine's end and the order to end; less where it lives for a short time."""
_WHOLE = 0.9
"""The part of a term that counts as all of it: what has run so long without an end does not fit."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What an agent was booted with. Times are seconds, ages are seconds since its machine's own start."""

    name: str
    job: str
    term: float
    """The age at which the machine ends, unless orders have bought it more."""
    lease: float = 120.0
    idle: float = 60.0
    """So long without work, and it ends."""
    ahead: float = 1200.0
    """The dead man's switch is moved so far ahead of a living agent, and no further."""
    patience: float = 60.0
    """Retries that are due within this are made here, under the same claim."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    final: bool = False
    """The term will not grow: what would not end within it is not begun."""
    lasts: float = 0.0
    """Seconds that a task may take, as the job says; 0: it does not say."""
    serves: int = 0
    """So many tasks in all, and it ends; 0: as many as there are."""
    grace: float = 0.0
    """Between the word to a task that it shall end and its end by force."""

    @property
    def ends(self) -> float:
        """The age at which tasks are told to end since the machine will; never, while its term may grow."""
        last = ending(timedelta(seconds=self.term), timedelta(seconds=self.grace))
        return self.term - last.total_seconds() if self.final else float("inf")

    @property
    def warns(self) -> float:
        """The age from which a task that asks hears that the end is near, and no other is begun."""
        return self.ends - min(WARN, self.term / 20)


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done, in this order."""

    stop: tuple[int, ...] = ()
    """Tasks whose attempt is ended, without a word about it."""
    reports: tuple[Report, ...] = ()
    done: tuple[Claim, ...] = ()
    """Acknowledged once the reports are durable."""
    release: tuple[Claim, ...] = ()
    run: tuple[Delivery, ...] = ()


class Hands:
    """The deliveries one agent holds. One attempt of a task at a time."""

    def __init__(self, ways: Ways, age: float = 0.0) -> None:
        """`age`: that at which the agent is ready to work."""
        self.ways = ways
        self.orders = Orders(ways.job)
        self.term = ways.term
        self.draining = False
        self.failed = False
        """Has a task failed here for good, as far as is known here?"""
        self._held: dict[int, Claim] = {}
        self._tries: dict[int, int] = {}
        """Task -> how often it has failed under the claim that is held."""
        self._again_at: dict[int, float] = {}
        """Task -> the age at which it is tried again; what is held besides is in a slot."""
        self._ended: dict[int, int] = {}
        """Task -> the number under which it has ended here, until the orders know of it."""
        self._busy = age
        self._served = 0
        """Tasks that have ended here, whatever became of them."""

    # --- taking ---------------------------------------------------------------------------------------------------

    def room(self, free: int, stock: int = 0) -> Room | None:
        """What may be claimed if slots have room for `free` more, and for `stock` more before long; None: nothing."""
        if free + stock <= 0 or self.draining or self.orders.over or self._alone():
            return None
        if self.ways.serves:
            free, stock = min(free, self._left()), 0
        return Room(free, alone=not self._held, stock=stock) if free > 0 else None

    def _left(self) -> int:
        """How many more may be begun here, of so many in all."""
        return self.ways.serves - self._served - len(self._held)

    def took(self, claims: Sequence[Claim]) -> Steps:
        """New claims, after orders have been read: what is stale is acknowledged, what cannot be run goes back."""
        stop, done, release, run = [], [], [], []
        held, ended, stale = self._held, self._ended, self.orders.stale
        for claim in claims:
            delivery = claim[0]
            n, attempt = delivery[:2]
            mine = held.get(n)
            if stale(n, attempt):
                done.append(claim)
            elif mine is not None and attempt <= mine.delivery.attempt:
                done.append(claim)  # an echo of what is in hand
            elif attempt <= ended.get(n, 0):
                done.append(claim)  # of what has ended here: its report is on its way
            elif self.orders.recalls(n, attempt):
                done.append(claim)  # it was said that it is not here
            elif mine is not None:
                stop.append(n)  # superseded: its slot is ended before the new number is run
                done.append(mine)
                self._let_go(n)
                release.append(claim)
            elif self.draining or (held and (delivery.alone or self._alone())):
                release.append(claim)
            else:
                held[n] = claim
                run.append(delivery)
        said = (Claimed(self.ways.name, tuple([one[:2] for one in run])),) if run else ()
        return Steps(tuple(stop), said, tuple(done), tuple(release), tuple(run))

    def _alone(self) -> bool:
        return len(self._held) == 1 and next(iter(self._held.values())).delivery.alone  # beside it there is none

    def in_time(self, age: float, lasts: float | None) -> None:
        """Nothing more is begun where what takes so long (None: not known) would outlast a term that is final."""
        expected = self.ways.lasts if lasts is None else min(lasts, self.ways.lasts or lasts)
        fresh = (
            not (self._served or self._held) and age <= (1 - _WHOLE) * self.ways.ends
        )  # where shall it, if not here?
        late = age + expected > self.ways.ends and not fresh
        self.draining = self.draining or (self.ways.final and (late or age >= self.ways.warns))

    # --- holding --------------------------------------------------------------------------------------------------

    @property
    def claims(self) -> list[Claim]:
        """All that is held, to be renewed."""
        return list(self._held.values())

    @property
    def empty(self) -> bool:
        return not self._held

    @property
    def followed(self) -> bool:
        """Does somebody read along what is done here?"""
        return self.orders.follows(self._held)

    def renewed(self, asked: Collection[Claim], kept: Collection[Claim]) -> Steps:
        """Of the claims that were to be renewed these are kept; the others have lapsed: dropped, and not reported."""
        lapsed = set(asked) - set(kept)
        gone = [n for n, claim in self._held.items() if claim in lapsed]
        return Steps(stop=tuple(self._drop(gone)))

    def told(self, orders: Orders) -> Steps:
        """Orders as they were just read: terms grow, ended and superseded work is stopped, draining hands back, a
        recall is answered.

        Those of an older epoch than the last are not heeded.
        """
        if orders is self.orders or orders.epoch < self.orders.epoch:
            return Steps()
        said = self._answer(orders) if orders.recall and orders.recall != self.orders.recall else ()
        self.orders = orders
        bought = orders.terms.get(self.ways.name)
        if bought is not None:
            self.term = max(self.term, bought.total_seconds())
        self.draining = self.draining or self.ways.name in orders.drain
        self._ended = {n: attempt for n, attempt in self._ended.items() if not orders.stale(n, attempt)}
        gone = [n for n, claim in self._held.items() if orders.stale(n, claim.delivery.attempt)]
        done = tuple(self._held[n] for n in gone)
        return Steps(stop=tuple(self._drop(gone)), reports=said, done=done)

    def _answer(self, orders: Orders) -> tuple[Claimed]:
        """What there is here of what is recalled, or has been: what was said of it before may be on its way still."""
        here = {**self._ended, **{n: claim.delivery.attempt for n, claim in self._held.items()}}
        found = tuple((n, attempt) for n, attempt in here.items() if orders.recalled.get(n) == attempt)
        return (Claimed(self.ways.name, found, orders.recall),)

    def give_up(self, ns: Iterable[int], at: float, lived: Mapping[int, float] = {}) -> Steps:
        """Hand these back, drained or about to be preempted: each is reported, so that nobody is blamed for it later.

        `at`: the time to report, seconds since the epoch. `lived`: seconds for which those run that are cut off by the
        end of a term: who had nearly all of it would have no more the next time.
        """
        reports, done, stop = [], [], []
        for n in ns:
            claim = self._let_go(n)
            if claim is None:
                continue
            story, outcome, took = _LET_GO, Outcome.INTERRUPTED, lived.get(n, 0.0)
            if self.ways.final and took >= _WHOLE * self.ways.ends:
                outcome = Outcome.TIMED_OUT
                said = f"it ran for {took:.0f} s, and a machine of its place gives it {self.ways.ends:.0f} s at most"
                story = {"type": "TimedOut", "message": f"{said}: ask for a longer walltime"}
            value = json.dumps(story).encode()
            report = Ended(n, claim.delivery.attempt, outcome, at - took, took, Form.FAILURE, value)
            reports.append(report._replace(agent=self.ways.name))
            done.append(claim)
            stop.append(n)
        return Steps(tuple(stop), tuple(reports), tuple(done))

    def _drop(self, ns: Collection[int]) -> Collection[int]:
        for n in ns:
            self._let_go(n)
        return ns

    def _let_go(self, n: int) -> Claim | None:
        self._tries.pop(n, None)
        self._again_at.pop(n, None)
        return self._held.pop(n, None)

    # --- ending ---------------------------------------------------------------------------------------------------

    def ended(self, reports: Iterable[Ended], age: float, wait: Callable[[int], float]) -> Steps:
        """Attempts ended: what is still held is reported and acknowledged, or tried again here; the rest is dropped.

        `wait`: the seconds before the next try of a task, after so many earlier ones.
        """
        said: list[Report] = []
        done = []
        name, held = self.ways.name, self._held
        for report in reports:
            n, attempt = report[:2]
            claim = held.get(n)
            if claim is None or claim[0][1] != attempt:
                continue
            if report.outcome:  # a success is 0, and spends nothing of this
                tries = self._tries[n] = self._tries.get(n, 0) + 1
                if report.outcome == Outcome.ERRORED and self._again(claim, report):
                    delay = wait(tries - 1)
                    if delay <= self.ways.patience:
                        self._again_at[n] = age + delay
                        continue
                self.failed = self.failed or (report.outcome in FAILING and not self._again(claim, report))
                report = _with_tries(report, tries)
            said.append(report if report.agent == name else report._replace(agent=name))
            done.append(claim)
            self._let_go(n)
            self._ended[n] = attempt
            self._served += 1
        return Steps(reports=tuple(said), done=tuple(done))

    def due(self, age: float) -> tuple[Delivery, ...]:
        """What is to be tried again now, under the claim it has."""
        found = [n for n, at in self._again_at.items() if at <= age]
        for n in found:
            del self._again_at[n]
        return tuple(self._held[n].delivery for n in found)

    def next_due(self) -> float | None:
        """The age at which something is to be tried again; None: nothing waits."""
        return min(self._again_at.values(), default=None)

    def _again(self, claim: Claim, report: Ended) -> bool:
        """Is there budget for another try, as far as is known here? If in doubt the ledger decides."""
        if self.draining or self.orders.over:
            return False
        options = _mapping(claim.delivery.options)
        limit = int(str(options.get("retries", self.ways.retry.retries)))
        spent = int(str(options.get("spent", 0))) + self._tries[report.n]
        if not self.ways.retry.allows(_mapping(report.value)):
            return False
        return spent <= limit and report.form == Form.FAILURE

    # --- its own end ----------------------------------------------------------------------------------------------

    def leaves(self, age: float, heard: bool = True) -> str:
        """Why the agent ends now; empty: it stays. Not `heard`: what was done here is not known yet where it is
        recorded; gone, it would be done again."""
        if self._held:
            self._busy = age
            return "its time is up" if age >= self.term else ""
        if self.orders.over:
            return "all work has ended"
        if self.draining:
            return "drained"
        if heard and self.ways.serves and self._left() <= 0:
            return "it has done what it was for"
        if age >= self.term:
            return "its time is up"
        if not heard:
            self._busy = age
        return "idle" if age - self._busy > self.ways.idle else ""

    def switch(self, age: float) -> float:
        """The age at which the dead man's switch shall end the machine: a little ahead, never past the term."""
        return min(self.term, age + self.ways.ahead)


def first_switch(ways: Ways, boot: float) -> float:
    """Where the switch stands before the agent lives: the lesser of the boot limit and the term."""
    return min(boot, ways.term)


def handed_on(report: Ended) -> Ended:
    """Of a task that asks to be run again when its machine is about to go: that is an interruption, which spends
    nothing, and the state that it hands on is kept all the same."""
    return report._replace(outcome=Outcome.INTERRUPTED) if report.outcome == Outcome.ASKED_AGAIN else report


def _with_tries(report: Ended, tries: int) -> Ended:
    if tries < 2 or report.outcome != Outcome.ERRORED:
        return report
    return report._replace(value=json.dumps({**_mapping(report.value), "tries": tries}).encode())


def _mapping(text: bytes | None) -> dict[str, object]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
