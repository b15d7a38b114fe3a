"""The rules of DESIGN's joint, each with a way to take it out of the project's own code while a world is played.

Nothing in the project knows of this: what a rule consists of is replaced from outside, and put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest import mock

import apsw

from elsewhere.agent import claims
from elsewhere.agent.claims import Hands, Steps
from elsewhere.channels import frames
from elsewhere.channels.base import Receipt
from elsewhere.controller import afar, line
from elsewhere.errors import NotFound
from elsewhere.ledger import ledger as ledger_module
from elsewhere.ledger import record
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.hand_out import HandOut
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.record import Record
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import AllocationMove, AllocationState, Outcome, TaskState, after_death
from elsewhere.pool import reactor
from elsewhere.pool.pool import Pool
from elsewhere.pool.reactor import Ask, Condemn, Write
from worlds import machine, seat, world

Without = Callable[[], contextlib.AbstractContextManager[Any]]
_ZERO = timedelta(0)


@dataclass(frozen=True)
class Rule:
    """`text` as people read it; `without` takes it out."""

    name: str
    text: str
    without: Without


RULES: dict[str, Rule] = {}


def rule(name: str, text: str) -> Callable[[Without], Without]:
    def keep(without: Without) -> Without:
        RULES[name] = Rule(name, text, without)
        return without

    return keep


patch = mock.patch.object


# --- the log --------------------------------------------------------------------------------------------------------


@rule(
    "log before ledger", "for places that outlive the client, a commit is in the store's log before it is in the file"
)
def _log_before_ledger() -> Any:
    moving = HandOut.moving

    @contextlib.contextmanager
    def late(self: HandOut, sync: bool = True) -> Iterator[None]:
        journal, self.journal = self.journal, None
        session = apsw.Session(self.db, "main")
        session.attach()
        try:
            with moving(self, sync):
                yield
                number = int(self._get("position", 0)) + 1
                if journal is not None:
                    self.db.execute("INSERT OR REPLACE INTO job VALUES('position', ?)", (number,))
        finally:
            self.journal = journal
        if journal is not None:
            journal.append(number, session.changeset())

    return patch(HandOut, "moving", late)


@rule("log holds decisions", "hand-outs, cancels, losses, launches and terms are in the log, not only reports")
def _log_holds_decisions() -> Any:
    def watch(self: HandOut) -> apsw.Session | None:
        if self.journal is None:
            return None
        session = apsw.Session(self.db, "main")
        session.table_filter(lambda name: name in ("job", "done", "attempts", "output", "events"))
        session.attach()
        return session

    return patch(HandOut, "_watch_changes", watch)


@rule("log is fenced", "one numbered sequence, each segment created if absent; a taken number means: overtaken, stop")
def _log_is_fenced() -> Any:
    append = Journal.append

    def push(self: Journal, number: int, changes: bytes) -> None:
        while True:
            try:
                self.store.get(f"log/{number:012d}")
                number += 1
            except NotFound:
                return append(self, number, changes)

    return patch(Journal, "append", push)


@rule("append before confirm", "a confirm follows a successful append, even one that only says `refused`")
def _append_before_confirm() -> Any:
    def watch(self: HandOut) -> Any:
        if self.journal is None:
            return None
        whole, weighty = apsw.Session(self.db, "main"), apsw.Session(self.db, "main")
        weighty.table_filter(lambda name: name not in ("job", "events"))
        whole.attach()
        weighty.attach()
        return whole, weighty

    def append(self: HandOut, journal: Any, sessions: Any) -> None:
        whole, weighty = sessions
        if not weighty.is_empty:
            number = int(self._get("position", 0)) + 1
            self.db.execute("INSERT OR REPLACE INTO job VALUES('position', ?)", (number,))
            journal.append(number, whole.changeset())

    return mock.patch.multiple(HandOut, _watch_changes=watch, _append=append)


@rule("append before stop", "a machine, a stranger too, is stopped only after the decision is in the log")
def _append_before_stop() -> Any:
    write = Pool._write

    def most(self: Pool, commands: list[Any]) -> None:
        stops = (AllocationMove.STOP,)
        write(self, [c for c in commands if not (isinstance(c, Condemn) or c.move in stops)])

    return patch(Pool, "_write", most)


@rule("confirm after log", "reports are confirmed only after they are durable")
def _confirm_after_log() -> Any:
    collect = line.Line.collect

    def hasty(self: line.Line, limit: int) -> Sequence[Receipt]:
        found = collect(self, limit)
        self.confirm(found)
        return found

    return patch(line.Line, "collect", hasty)


# --- what counts ----------------------------------------------------------------------------------------------------


@rule("number fence", "a report counts only if its number is the current one")
def _number_fence() -> Any:
    other, plain = Record._record_other, Record._record_plain

    def current(self: Record, report: Ended) -> Ended:
        return report._replace(attempt=self._current(report.n)[1])

    def any_other(self: Record, report: Ended) -> TaskState | None:
        return other(self, current(self, report))

    def any_plain(self: Record, reports: Sequence[Ended]) -> int:
        return plain(self, [current(self, r) for r in reports])

    return mock.patch.multiple(Record, _record_other=any_other, _record_plain=any_plain)


@rule("one report a number", "the first report of a number closes it, also while its task waits for the retry")
def _one_report_a_number() -> Any:
    def take_back(self: Record, report: Ended) -> bool:
        self.db.execute(
            "UPDATE open SET state = 1, due = NULL WHERE n = ? AND attempt = ? AND state IN (0, 2)",
            (report.n, report.attempt),
        )
        changed = bool(self.db.changes())
        if changed:
            self.reload()
        return changed

    def other(self: Record, report: Ended) -> TaskState | None:
        state, attempt, _, _ = self._current(report.n)
        if attempt == report.attempt and state in (TaskState.READY, TaskState.WAITING):
            take_back(self, report)
        return whole(self, report)

    whole = Record._record_other
    return mock.patch.multiple(Record, _take_back=take_back, _record_other=other)


@rule("finished is final", "a finished task takes no further outcome")
def _finished_is_final() -> Any:
    final = record._DONE.replace("INSERT INTO", "INSERT OR REPLACE INTO").replace(" ON CONFLICT DO NOTHING", "")
    return patch(record, "_DONE", final)


@rule("late words count", "a late report of the current number counts while nobody else has its task")
def _late_words_count() -> Any:
    return patch(Record, "_take_back", lambda self, report: False)


@rule("resume sends again", "a new controller sends again what is handed out and not claimed")
def _resume_sends_again() -> Any:
    return patch(Holdings, "unclaimed", lambda self, page=1000: iter(()))


@rule("claimed by the dead", "a late Claimed of a machine that is gone gives the task back")
def _claimed_by_the_dead() -> Any:
    return patch(Holdings, "_gone", lambda self, native: None)


@rule("late claims are blamed", "a late Claimed of a machine that crashed counts as a death")
def _late_claims_are_blamed() -> Any:
    gone = Holdings._gone

    def mild(self: Holdings, native: str) -> Any:
        found = gone(self, native)
        return None if found is None else replace(found, crashed=False)

    return patch(Holdings, "_gone", mild)


@rule("late ends acquit", "a late Ended takes back the death that was counted for its number")
def _late_ends_acquit() -> Any:
    return patch(Holdings, "_acquit", lambda self, n, attempt: None)


@rule("loss interrupts", "a machine that is gone gives its tasks back")
def _loss_interrupts() -> Any:
    return patch(Holdings, "_give_back", lambda self, native, crashed: None)


@rule("interrupts are free", "an interruption does not spend the retry budget")
def _interrupts_are_free() -> Any:
    bereave = Holdings._bereave

    def costly(self: Holdings, n: int, crashed: bool) -> None:
        if crashed:
            return bereave(self, n, crashed)
        _, attempt, _, _ = self.ledger._current(n)
        self.ledger.record([Ended(n, attempt, Outcome.ERRORED, 0.0, 0.0, Form.FAILURE, b"{}")])
        return None

    return patch(Holdings, "_bereave", costly)


@rule("deaths count alone", "a death counts against a task only if it had the machine to itself; a suspect runs alone")
def _deaths_count_alone() -> Any:
    return patch(ledger_module, "after_death", lambda tally, alone, budget: after_death(tally, True, budget))


@rule("crash limit", "a task that kills machines is stopped")
def _crash_limit() -> Any:
    return patch(ledger_module, "after_death", lambda t, alone, b: after_death(t, alone, replace(b, crashes=10**6)))


@rule("tries are booked", "an agent that tries again by itself says how often, and each try spends the budget")
def _tries_are_booked() -> Any:
    return patch(claims, "_with_tries", lambda report, tries: report)


# --- agents ---------------------------------------------------------------------------------------------------------


@rule("lapsed is silent", "an agent whose claim lapsed drops the work and does not report")
def _lapsed_is_silent() -> Any:
    return patch(Hands, "renewed", lambda self, asked, kept: Steps())


@rule(
    "given up is reported",
    "a claim that an agent gives up is reported, so that its task is not blamed for what follows",
)
def _given_up_is_reported() -> Any:
    give_up = Hands.give_up

    def quietly(self: Hands, ns: Any, at: float) -> Steps:
        steps = give_up(self, ns, at)
        return Steps(stop=steps.stop, release=steps.done)

    return patch(Hands, "give_up", quietly)


@rule("report before ack", "reports are durable before claims are acknowledged")
def _report_before_ack() -> Any:
    in_order = machine.Machine.in_order
    return patch(machine.Machine, "in_order", lambda self, steps: in_order(self, steps)[::-1])


@rule("claim is exclusive", "what one agent holds is offered to no other while its lease runs")
def _claim_is_exclusive() -> Any:
    return _queue("out", exclusive=False)


@rule("lapsed is offered again", "a claim that is not renewed lapses")
def _lapsed_is_offered_again() -> Any:
    return _queue("out", lapses=False)


def _queue(name: str, **changes: bool) -> Any:
    begin = world.World.__init__

    def changed(self: world.World, seed: int) -> None:
        begin(self, seed)
        for key, value in changes.items():
            setattr(getattr(self, name), key, value)

    return patch(world.World, "__init__", changed)


@rule("cancel by orders", "agents stop what the orders end")
def _cancel_by_orders() -> Any:
    return _blind("told")


@rule(
    "stale is dropped", "a delivery is checked against the orders before it is run: finished or superseded is dropped"
)
def _stale_is_dropped() -> Any:
    return _blind("took")


def _blind(method: str) -> Any:
    """While it decides this, an agent thinks that nothing is stale."""
    whole = getattr(Hands, method)

    def blind(self: Hands, given: Any) -> Steps:
        with patch(Orders, "stale", lambda self, n, attempt: False):
            steps: Steps = whole(self, given)
            return steps

    return patch(Hands, method, blind)


@rule("newest epoch's orders", "orders lie under their epoch; agents heed those of the highest they have seen")
def _newest_epochs_orders() -> Any:
    told = Hands.told

    def write(store: Any, orders: Orders, signer: Any = None) -> None:
        store.put("orders/0", frames.pack_orders(orders))

    def read(store: Any, job: str, verifier: Any = None) -> Orders:
        try:
            return frames.unpack_orders(store.get("orders/0"))
        except NotFound:
            return Orders(job)

    def any_told(self: Hands, orders: Orders) -> Steps:
        self.orders = Orders(self.ways.job, -1)
        return told(self, orders)

    stack = contextlib.ExitStack()
    stack.enter_context(patch(seat, "write_orders", write))
    stack.enter_context(patch(machine, "read_orders", read))
    stack.enter_context(patch(Hands, "told", any_told))
    return stack


@rule("switch", "the machine ends itself at the time its switch stands at")
def _switch() -> Any:
    stack = contextlib.ExitStack()
    stack.enter_context(patch(machine, "first_switch", lambda ways, boot: float("inf")))
    stack.enter_context(patch(Hands, "switch", lambda self, age: float("inf")))
    stack.enter_context(_leaves_not("its time is up"))
    return stack


@rule("boot limit within term", "before the agent lives, the switch stands at the lesser of boot limit and term")
def _boot_limit_within_term() -> Any:
    return patch(machine, "first_switch", lambda ways, boot: boot)


@rule("switch in small steps", "a living agent moves the switch a little at a time, not to the end of the term at once")
def _switch_in_small_steps() -> Any:
    return patch(Hands, "switch", lambda self, age: self.term)


@rule("term is renewed", "orders carry terms, so living work goes on")
def _term_is_renewed() -> Any:
    told = Hands.told
    return patch(Hands, "told", lambda self, orders: told(self, replace(orders, terms={})))


@rule("over is told", "when all has ended the orders say so, and agents end")
def _over_is_told() -> Any:
    word = afar.Afar._word
    return patch(afar.Afar, "_word", lambda self: replace(word(self), over=False))


@rule("idle ends", "an agent without work ends its machine")
def _idle_ends() -> Any:
    return _leaves_not("idle")


def _leaves_not(reason: str) -> Any:
    leaves = Hands.leaves

    def stays(self: Hands, age: float) -> str:
        why = leaves(self, age)
        return "" if why == reason else why

    return patch(Hands, "leaves", stays)


@rule("start-by in boot text", "a boot text that runs after its start-by date ends the machine")
def _start_by() -> Any:
    return patch(world.World, "late", lambda self, start_by: False)


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
    pursue = reactor._Draft._pursue

    def once(self: Any, launch: str, ours: Any, asked: Any) -> None:
        pursue(self, launch, ours, asked)
        self.acts = [act for act in self.acts if not isinstance(act, Ask)]

    return patch(reactor._Draft, "_pursue", once)


@rule("a refusal may be of the echo", "a refusal of a second ask proves nothing about the first: the labels decide")
def _echo() -> Any:
    refused = reactor._Draft.refused

    def believed(self: Any, event: Any) -> None:
        self.state = replace(self.state, fresh=self.state.fresh | {event.launch})
        refused(self, event)

    return patch(reactor._Draft, "refused", believed)


@rule("ask only while remembered", "not after the place may have forgotten the id: then the labels decide")
def _ask_only_while_remembered() -> Any:
    def always(self: Any, launch: str, ours: Any, asked: Any) -> None:
        planned = self.planned(launch)
        if planned[0].reason != reactor.DOUBT:
            self.acts.append(self._ask(launch, planned))
        elif asked > planned[0].until + self.bounds.flight + self.bounds.lag:
            found = [native for native, s in ours.items() if s.labels.get("launch") == launch]
            self._got(launch, found, unknown=True)

    return patch(reactor._Draft, "_pursue", always)


@rule("labels are read late", "the labels decide only when nothing can still be in flight or unlisted")
def _labels_are_read_late() -> Any:
    pursue = reactor._Draft._pursue

    def early(self: Any, launch: str, ours: Any, asked: Any) -> None:
        found = [native for native, s in ours.items() if s.labels.get("launch") == launch]
        planned = self.planned(launch)
        doubtful = planned[0].reason == reactor.DOUBT or self.now > planned[0].until
        if found and doubtful:
            self._got(launch, found, unknown=True)
        else:
            pursue(self, launch, ours, asked)

    return patch(reactor._Draft, "_pursue", early)


@rule("two absences", "absent twice, more than the lag apart, is gone; once is not")
def _two_absences() -> Any:
    missed = reactor._Draft._missed

    def once(self: Any, allocation: Any, asked: Any) -> None:
        long_ago = asked - self.bounds.lag * 2 - timedelta(seconds=1)
        self.state = replace(self.state, absent={**self.state.absent, allocation.id: long_ago})
        missed(self, allocation, asked)

    return patch(reactor._Draft, "_missed", once)


@rule("an answer is as old as its question", "absence is dated by when the place was asked, not by when it is read")
def _as_old_as_its_question() -> Any:
    listed = reactor._Draft.listed
    return patch(reactor._Draft, "listed", lambda self, event: listed(self, replace(event, asked=self.now)))


@rule("unlisted costs all", "who is gone without a bill is booked with the whole term")
def _unlisted_costs_all() -> Any:
    write, got = reactor._Draft.write, reactor._Draft._got

    def cheap(self: Any, allocation: Any, move: Any = None, **changes: Any) -> Any:
        if move is AllocationMove.VANISH:
            changes["used"] = _ZERO
        return write(self, allocation, move, **changes)

    def cheaply(self: Any, launch: str, natives: Any, unknown: bool) -> None:
        got(self, launch, natives, unknown=False)

    return mock.patch.multiple(reactor._Draft, write=cheap, _got=cheaply)


@rule("term within budget", "time is bought out of what no open term may still spend")
def _term_within_budget() -> Any:
    return patch(reactor._Draft, "_free", lambda self: self.bounds.budget - self.state.spent)


@rule("stop until gone", "the stop is asked for again until the machine is seen gone")
def _stop_until_gone() -> Any:
    stop = reactor._Draft._stop

    def once(self: Any, alive: Any) -> None:
        stopping = {a.native for a in self.state.allocations.values() if a.state is AllocationState.STOPPING}
        stop(self, {native: s for native, s in alive.items() if native not in stopping})

    return patch(reactor._Draft, "_stop", once)


@rule("strangers are stopped", "what bears our labels and is not in the ledger is stopped")
def _strangers_are_stopped() -> Any:
    stop = reactor._Draft._stop

    def ours(self: Any, alive: Any) -> None:
        held = {a.native for a in self.state.allocations.values()}
        stop(self, {native: s for native, s in alive.items() if native in held})

    return patch(reactor._Draft, "_stop", ours)


@rule("collected comes again", "what was collected and not yet recorded is at hand in the next turn")
def _collected_comes_again() -> Any:
    collect = line.Line.collect

    def forgetful(self: line.Line, limit: int) -> Sequence[Receipt]:
        self._collected.clear()
        return collect(self, limit)

    return patch(line.Line, "collect", forgetful)


@rule("heard before looked", "what agents have said is heard before what became of them is decided")
def _heard_before_looked() -> Any:
    tend = afar.Afar._tend

    def at_once(self: afar.Afar) -> None:
        news, self.line.news = self.line.news, False
        tend(self)
        self.line.news = news

    return patch(afar.Afar, "_tend", at_once)


PAIRS = (
    ("number fence", "one report a number"),
    ("report before ack", "loss interrupts"),
    ("lapsed is offered again", "loss interrupts"),
    ("ask only while remembered", "start-by in boot text"),
    ("idle ends", "stop until gone", "over is told"),
    ("strangers are stopped", "idle ends"),
    ("resume sends again", "lapsed is offered again"),
    ("number fence", "lapsed is silent"),
)
"""Where one rule covers for another."""


@contextlib.contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """These rules are not in force within."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(RULES[name].without())
        yield
