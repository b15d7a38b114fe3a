"""Rules of agents and channels."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

from elsewhere.agent.claims import Hands, Steps
from elsewhere.channels import frames
from elsewhere.controller import afar
from elsewhere.errors import NotFound
from elsewhere.model.orders import Orders
from worlds import machine, seat, world
from worlds.rule import patch, rule

_ZERO = timedelta(0)

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


@rule("ended is remembered", "an agent remembers what has ended there until the orders know of it")
def _ended_is_remembered() -> Any:
    took = Hands.took

    def forgetful(self: Hands, claims: Any) -> Steps:
        self._ended = {}
        return took(self, claims)

    return patch(Hands, "took", forgetful)


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
