"""Rules of the pool, and of a controller's far side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from elsewhere.channels.base import Receipt
from elsewhere.controller import afar, line, stuck
from elsewhere.model.states import AllocationMove, AllocationState
from elsewhere.pool import capacity, draft, growth, reactor, sizing
from elsewhere.pool.capacity import Ask, Write
from elsewhere.pool.pool import Pool
from worlds import seat, world
from worlds.rule import patch, rule

_ZERO = timedelta(0)

# --- the pool -------------------------------------------------------------------------------------------------------


@rule("book before launch", "a launch is written down, with its term, before it is asked for")
def _book_before_launch() -> Any:
    write = Pool._write

    def most(self: Pool, commands: list[Any]) -> None:
        new = (AllocationState.PLANNED,)
        write(self, [c for c in commands if not (isinstance(c, Write) and c.allocation.state in new)])

    return patch(Pool, "_write", most)


@rule("same token", "a launch is asked for again under the same id")
def _same_token() -> Any:
    order = seat.Seat._order

    def fresh(self: seat.Seat, ask: Ask) -> Any:
        return replace(order(self, ask), id=f"{ask.launch}+{self.world.now}")

    return patch(seat.Seat, "_order", fresh)


@rule("ask again", "a launch without an answer is asked for again")
def _ask_again() -> Any:
    pursue = reactor._Answer._pursue

    def once(self: Any, launch: str, ours: Any, asked: Any) -> None:
        pursue(self, launch, ours, asked)
        self.acts = [act for act in self.acts if not isinstance(act, Ask)]

    return patch(reactor._Answer, "_pursue", once)


@rule("a refusal may be of the echo", "a refusal of a second ask proves nothing about the first: the labels decide")
def _echo() -> Any:
    refused = reactor._Answer.refused

    def believed(self: Any, event: Any) -> None:
        self.state = replace(self.state, fresh=self.state.fresh | {event.launch})
        refused(self, event)

    return patch(reactor._Answer, "refused", believed)


@rule("ask only while remembered", "not after the place may have forgotten the id: then the labels decide")
def _ask_only_while_remembered() -> Any:
    def always(self: Any, launch: str, ours: Any, asked: Any) -> None:
        planned = self.planned(launch)
        if planned[0].reason != reactor.DOUBT:
            self.acts.append(self.ask(launch, planned))
        elif asked > planned[0].until + self.bounds.flight + self.bounds.lag:
            found = [native for native, s in ours.items() if s.labels.get("launch") == launch]
            self._got(launch, found, unknown=True)

    return patch(reactor._Answer, "_pursue", always)


@rule("labels are read late", "the labels decide only when nothing can still be in flight or unlisted")
def _labels_are_read_late() -> Any:
    pursue = reactor._Answer._pursue

    def early(self: Any, launch: str, ours: Any, asked: Any) -> None:
        found = [native for native, s in ours.items() if s.labels.get("launch") == launch]
        planned = self.planned(launch)
        doubtful = planned[0].reason == reactor.DOUBT or self.now > planned[0].until
        if found and doubtful:
            self._got(launch, found, unknown=True)
        else:
            pursue(self, launch, ours, asked)

    return patch(reactor._Answer, "_pursue", early)


@rule("two absences", "absent twice, more than the lag apart, is gone; once is not")
def _two_absences() -> Any:
    missed = reactor._Answer._missed

    def once(self: Any, allocation: Any, asked: Any) -> None:
        long_ago = asked - self.bounds.lag * 2 - timedelta(seconds=1)
        self.state = replace(self.state, absent={**self.state.absent, allocation.id: long_ago})
        missed(self, allocation, asked)

    return patch(reactor._Answer, "_missed", once)


@rule("an answer is as old as its question", "absence is dated by when the place was asked, not by when it is read")
def _as_old_as_its_question() -> Any:
    listed = reactor._Answer.listed
    return patch(reactor._Answer, "listed", lambda self, event: listed(self, replace(event, asked=self.now)))


@rule("unlisted costs all", "who is gone without a bill is booked with the whole term")
def _unlisted_costs_all() -> Any:
    write, got = reactor._Answer.write, reactor._Answer._got

    def cheap(self: Any, allocation: Any, move: Any = None, **changes: Any) -> Any:
        if move is AllocationMove.VANISH:
            changes["used"] = _ZERO
        return write(self, allocation, move, **changes)

    def cheaply(self: Any, launch: str, natives: Any, unknown: bool) -> None:
        got(self, launch, natives, unknown=False)

    return mock.patch.multiple(reactor._Answer, write=cheap, _got=cheaply)


@rule("term within budget", "time is bought out of what no open term may still spend")
def _term_within_budget() -> Any:
    return patch(growth, "free_of", lambda state: state.bounds.budget - state.spent)


@rule("stop until gone", "the stop is asked for again until the machine is seen gone")
def _stop_until_gone() -> Any:
    stop = reactor._Answer._stop

    def once(self: Any, alive: Any) -> None:
        stopping = {a.native for a in self.state.allocations.values() if a.state is AllocationState.STOPPING}
        stop(self, {native: s for native, s in alive.items() if native not in stopping})

    return patch(reactor._Answer, "_stop", once)


@rule("strangers are stopped", "what bears our labels and is not in the ledger is stopped")
def _strangers_are_stopped() -> Any:
    stop = reactor._Answer._stop

    def ours(self: Any, alive: Any) -> None:
        held = {a.native for a in self.state.allocations.values()}
        stop(self, {native: s for native, s in alive.items() if native in held})

    return patch(reactor._Answer, "_stop", ours)


@rule("collected comes again", "what was collected and not yet recorded is at hand in the next turn")
def _collected_comes_again() -> Any:
    collect = line.Line.collect

    def forgetful(self: line.Line, limit: int) -> Sequence[Receipt]:
        self._collected.clear()
        return collect(self, limit)

    return patch(line.Line, "collect", forgetful)


@rule("heard before looked", "what agents have said is heard before what became of them is decided")
def _heard_before_looked() -> Any:
    return patch(afar.Afar, "_is_quiet", property(lambda self: True))


@rule(
    "a late answer is void",
    "an answer of the place that took long is not acted upon: what agents said meanwhile is heard first",
)
def _late_answer_is_void() -> Any:
    return patch(world, "SLOW", timedelta(days=365))


@rule(
    "heard before taken back",
    "at Ctrl-C what agents have taken is heard of before the rest gets its next number, so that nothing is run again",
)
def _heard_before_taken_back() -> Any:
    return patch(afar.Afar, "_all_is_heard", lambda self, waited: True)


@rule(
    "asked before handed out again",
    "what seems to lie with a machine that is gone is recalled: what nobody then says to have gets its next number",
)
def _asked_before_handed_out_again() -> Any:
    return patch(stuck.Recall, "over", lambda self, asked, now, patience: True)


# --- a mix of shapes ------------------------------------------------------------------------------------------------


@rule("share of a shape", "never more machines of a shape than its share of the plan")
def _share_of_a_shape() -> Any:
    return patch(sizing, "_share", lambda shape, held: 10**9)


@rule("refused rests", "what was refused is not asked for again at once")
def _refused_rests() -> Any:
    return patch(sizing, "rests", lambda state, shape, now: False)


@rule("ceiling per hour", "what is held never costs more per hour than was allowed")
def _ceiling_per_hour() -> Any:
    picks = sizing.picks

    def free_hours(state: Any, *rest: Any, **named: Any) -> Any:
        return picks(replace(state, bounds=replace(state.bounds, price_per_hour=None)), *rest, **named)

    return patch(sizing, "picks", free_hours)


@rule("each costs its own", "what is booked for a machine is the price of its own offer")
def _each_costs_its_own() -> Any:
    def cheap(allocation: Any) -> Decimal:
        time = allocation.term if allocation.used is None else allocation.used
        return Decimal(40) * Decimal(time.total_seconds()) / 3600

    all_three = contextlib.ExitStack()
    for module in (capacity, draft, growth):
        all_three.enter_context(patch(module, "cost", cheap))
    return all_three


@rule("same words", "a launch is asked for again as it was: the same offer, also by another controller")
def _same_words() -> Any:
    ask = reactor._Answer.ask

    def anew(self: Any, launch: str, planned: Any) -> Any:
        offers = [shape.offer for shape in self.bounds.shapes if not sizing.rests(self.state, shape, self.now)]
        return replace(ask(self, launch, planned), offer=(offers or [planned[0].offer])[0])

    return patch(reactor._Answer, "ask", anew)


@rule("silence is stopped", "a machine whose agent never spoke is stopped after its time")
def _silence_is_stopped() -> Any:
    return patch(reactor._Answer, "_silent", lambda self, alive: None)


@rule("duds in a row end it", "after so many machines in a row that did not boot no other is asked for")
def _duds_in_a_row() -> Any:
    return patch(reactor._Answer, "_dud", lambda self, allocation: None)
