"""Plans over about 100,000 offers, warm: CPU milliseconds and distance from the bound, p95 of a set of wishes.

Prints JSON. `plan.py sort` plans without the solver; `plan.py all` gives the solver every offer, which is the anchor.
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from itertools import product

from market import catalog

from elsewhere.api.solver import solve
from elsewhere.choose.bound import goal
from elsewhere.choose.filter import sift
from elsewhere.choose.market import market
from elsewhere.choose.mix import program
from elsewhere.choose.plan import caps_of, plan
from elsewhere.choose.wants import SPOT, Span, Wants
from elsewhere.model.resources import Resources

MUCH = Span(None, Decimal(100_000))
TASKS = (Resources(1, "1GiB"), Resources(4, "30GiB"), Resources(3, "5GiB"))
MORE = ({"price_per_hour": MUCH}, {"price_per_hour": MUCH, "machines": Span(None, 20)}, {},
        {"price_per_hour": MUCH, "architecture": "any", "total_cpus": Span(None, 1000)})  # fmt: skip


def main() -> None:
    how, small = sys.argv[1], "small" in sys.argv
    found = catalog(families=10) if small else catalog()
    if how == "all":
        print(json.dumps({"millis_p95": everything(found)}))
        return
    solver = None if how == "sort" else solve
    spent, gaps = [], []
    plan(found, Wants(), 7, solver=solver)
    slots = (7, 100) if small else (1, 7, 10, 64, 100, 1000, 10_000)
    for spot, task, more, n in product(("on-demand", SPOT), TASKS, MORE, slots):
        began = time.process_time()
        made = plan(found, Wants(task=task, spot=spot, **more), n, solver=solver)
        spent.append((time.process_time() - began) * 1000)
        gaps.append(made.gap * 100)
    print(json.dumps({"millis_p95": p95(spent), "gap_p95": p95(gaps), "offers": len(found)}))


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def everything(found: object) -> float:
    """Milliseconds of one exact program over every spot offer."""
    wants = Wants(spot=SPOT, price_per_hour=MUCH)
    whole = market(sift(found.types, wants), found, spot=True, duration=None, kept=1000)
    aim = goal(whole, 1000, True)
    began = time.process_time()
    solve(program(aim, caps_of(wants), range(len(whole))))
    return (time.process_time() - began) * 1000


main()
