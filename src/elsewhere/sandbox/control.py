"""Orders to a running sandbox: one JSON object a request, over its own port, under the word of its 0600 file."""

from __future__ import annotations

import hmac
import http.client
import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from elsewhere.errors import StateError, UsageError
from elsewhere.sandbox import bill, catalog
from elsewhere.sandbox.ec2.limits import QUOTAS
from elsewhere.sandbox.faults import KINDS, Fault
from elsewhere.sandbox.fleet import DIED, Instance
from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.state import Found

if TYPE_CHECKING:
    from elsewhere.sandbox.cloud import Cloud

PATH = "/_elsewhere/control"
TOKEN = "x-elsewhere-token"
_PATIENCE = 60.0
Words = dict[str, Any]


class Control:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._verbs: dict[str, Callable[[Words], Any]] = {
            "status": self._status,
            "machines": self._machines,
            "bill": self._bill,
            "preempt": self._preempt,
            "kill": lambda words: self._each(words, lambda i: cloud.fleet.end([i.id], DIED)),
            "freeze": lambda words: self._each(words, lambda i: i.machine.freeze()),
            "thaw": lambda words: self._each(words, lambda i: i.machine.thaw()),
            "partition": lambda words: self._cut(words, True),
            "heal": lambda words: self._cut(words, False),
            "stock": self._stock,
            "quota": self._quota,
            "price": self._price,
            "fault": self._fault,
            "deny": lambda words: self._policy(words, cloud.front.policy.deny),
            "allow": lambda words: self._policy(words, cloud.front.policy.allow),
            "expire": lambda words: self._keys(cloud.keys.expire),
            "renew": lambda words: self._keys(lambda: cloud.keys.renew(bool(words.get("new")))),
            "down": self._down,
        }

    def answer(self, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get(TOKEN, "").encode(), self.cloud.token.encode()):
            return Response(403)
        try:
            words = json.loads(request.body)
            reply = self._verbs[words["verb"]](words)
        except UsageError as error:
            return _json(400, {"message": error.message, "hint": error.hint})
        except (KeyError, ValueError, TypeError) as error:
            return _json(400, {"message": f"the sandbox does not understand this: {error}", "hint": ""})
        return _json(200, reply)

    def _each(self, words: Words, act: Callable[[Instance], object]) -> Words:
        chosen = [self._find(id) for id in words["ids"]]
        for instance in chosen:
            act(instance)
        return {"machines": [instance.id for instance in chosen]}

    def _find(self, id: str) -> Instance:
        """A living machine, by the beginning of its id or without its `i-`."""
        alive = [i for i in self.cloud.fleet.known() if i.alive]
        found = [i for i in alive if i.id.startswith(id) or i.id.startswith("i-" + id)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{len(found)} machines begin with {id}", hint="Type more of the id.")
        ended = id in self.cloud.fleet.instances
        said = f"the machine {id} has ended already" if ended else f"no machine that runs is called {id}"
        raise UsageError(said, hint="`elsewhere sandbox machines` lists them.")

    def _status(self, words: Words) -> Words:
        cloud = self.cloud
        alive = [instance for instance in cloud.fleet.known() if instance.alive]
        dying = [i for i in cloud.fleet.known() if i.move.state == "shutting-down"]
        return {
            "endpoint": cloud.found.endpoint,
            "pid": cloud.found.pid,
            "region": cloud.settings.region,
            "speed": cloud.settings.speed,
            "seed": cloud.settings.seed,
            "lag": cloud.settings.lag,
            "now": cloud.clock.now(),
            "running": len(alive),
            "ending": len(dying),
            "ended": len(cloud.fleet.known()) - len(alive) - len(dying),
            "stock": cloud.limits.stock(),
            "throttled": cloud.limits.throttled,
            "faults": [_fault_words(fault) for fault in cloud.faults.orders()],
            "denied": cloud.front.policy.denied(),
            "expired": cloud.keys.user.expired,
            "dollars": self._bill({})["total"],
        }

    def _machines(self, words: Words) -> Words:
        return {"machines": [_machine_words(instance) for instance in self.cloud.fleet.known()]}

    def _bill(self, words: Words) -> Words:
        cloud, now = self.cloud, self.cloud.clock.now()
        with cloud.fleet.lock:
            lines = [bill.line(instance, cloud.market, now) for instance in cloud.fleet.known()]
        counts = cloud.meter.counts()
        costs = bill.requests(counts)
        total = sum((line.total for line in lines), sum(costs.values(), Decimal(0)))
        return {
            "machines": [_line_words(line) for line in lines],
            "requests": {kind: {"count": counts[kind], "dollars": _money(cost)} for kind, cost in costs.items()},
            "calls": cloud.meter.calls(),
            "total": _money(total),
            "running": sum(1 for line in lines if line.running),
        }

    def _preempt(self, words: Words) -> Words:
        notice = float(words.get("notice", 120))
        for id in words["ids"]:
            if not self._find(id).order.spot:
                raise UsageError(f"{id} is no spot machine: the cloud does not take it back", hint="Use `kill`.")
        return self._each(words, lambda instance: self.cloud.fleet.preempt(instance.id, notice))

    def _cut(self, words: Words, off: bool) -> Words:
        done = self._each(words, lambda instance: setattr(instance, "partitioned", off))
        self.cloud.renew_doors()
        return done

    def _stock(self, words: Words) -> Words:
        self.cloud.limits.keep_stock(words["type"], words.get("zone", ""), int(words["count"]))
        return {"stock": self.cloud.limits.stock()}

    def _quota(self, words: Words) -> Words:
        codes = {code: name for name, code in QUOTAS.items()}
        name = codes.get(words["name"], words["name"])
        if name not in QUOTAS:
            raise UsageError(f"there is no quota {name}", hint=f"One of {', '.join(QUOTAS)}, or a code (L-...).")
        self.cloud.limits.quotas[name] = float(words["value"])
        return {"quotas": self.cloud.limits.quotas}

    def _price(self, words: Words) -> Words:
        kind, zone = words["type"], words.get("zone", "")
        if not any(sign in kind for sign in "*?[") and kind not in catalog.types():
            raise UsageError(f"there is no machine type {kind}", hint="A glob is understood too: c7g.*")
        self.cloud.market.fix(kind, zone, Decimal(str(words["price"])), self.cloud.clock.now())
        self.cloud.look_at_prices()
        return {"price": words}

    def _fault(self, words: Words) -> Words:
        if words.get("clear"):
            self.cloud.faults.clear()
        else:
            if words["kind"] not in KINDS:
                raise UsageError(f"there is no fault {words['kind']}", hint=f"One of {', '.join(KINDS)}.")
            length = words.get("seconds")
            until = self.cloud.clock.now() + float(length) if length is not None else None
            times = words.get("times", 1 if until is None else None)
            self.cloud.faults.add(Fault(words["action"], words["kind"], words.get("code") or "", times, until))
        return {"faults": [_fault_words(fault) for fault in self.cloud.faults.orders()]}

    def _policy(self, words: Words, change: Callable[[str], None]) -> Words:
        for action in words["actions"]:
            if ":" not in action and action != "*":
                raise UsageError(f"{action!r} is no action of a policy", hint="Such as ec2:RunInstances, or s3:*.")
            change(action)
        return {"denied": self.cloud.front.policy.denied()}

    def _keys(self, change: Callable[[], object]) -> Words:
        change()
        user = self.cloud.keys.user
        return {"expired": user.expired, "access_key": user.access_key, "secret": user.secret}

    def _down(self, words: Words) -> Words:
        self.cloud.over.set()
        return {"down": True}


def ask(found: Found, verb: str, **words: Any) -> Words:
    """The answer to one order. UsageError: it was refused. StateError: nobody answers there."""
    line = http.client.HTTPConnection("127.0.0.1", found.port, timeout=_PATIENCE)
    try:
        line.request("POST", PATH, json.dumps({"verb": verb, **words}), {TOKEN: found.token})
        reply = line.getresponse()
        text = reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise StateError("the sandbox does not answer", hint="`elsewhere sandbox down` clears it away.") from error
    finally:
        line.close()
    if reply.status == 403:
        raise StateError("what answers there is another sandbox", hint="`elsewhere sandbox down` clears it away.")
    answer: Words = json.loads(text)
    if reply.status != 200:
        raise UsageError(answer["message"], hint=answer["hint"])
    return answer


def _json(status: int, value: object) -> Response:
    return Response(status, json.dumps(value).encode(), {"content-type": "application/json"})


def _money(amount: Decimal) -> str:
    return f"{amount:.6f}"


def _fault_words(fault: Fault) -> Words:
    return {"action": fault.action, "kind": fault.kind, "code": fault.code, "times": fault.times, "until": fault.until}


def _machine_words(instance: Instance) -> Words:
    order = instance.order
    return {
        "id": instance.id,
        "state": instance.move.state,
        "type": order.type,
        "zone": order.zone,
        "spot": order.spot,
        "launched": instance.launched,
        "reason": instance.move.reason.code,
        "notice": instance.notice,
        "frozen": instance.machine.frozen,
        "partitioned": instance.partitioned,
        "tags": instance.tags,
        "directory": str(instance.machine.home),
        "console": str(instance.machine.console_file),
    }


def _line_words(line: bill.Line) -> Words:
    return {
        "machine": line.machine,
        "type": line.type,
        "zone": line.zone,
        "spot": line.spot,
        "seconds": round(line.seconds, 3),
        "compute": _money(line.compute),
        "disk": _money(line.disk),
        "address": _money(line.address),
        "total": _money(line.total),
        "running": line.running,
        "note": line.note,
    }
