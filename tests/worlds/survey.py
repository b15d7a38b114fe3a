"""Plays many worlds, with rules or without, and says which invariants broke: `python tests/worlds/survey.py --help`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from worlds.rules import PAIRS, RULES, without
from worlds.world import Broken, World

Found = dict[str, list[tuple[int, str]]]
"""Invariant -> (seed, story) of the worlds in which it broke."""


def broken(seed: int, rules: Sequence[str] = ()) -> tuple[str, str] | None:
    """What breaks in that world without these rules, with its story; None: nothing does."""
    try:
        with without(rules):
            World(seed).play()
    except Broken as error:
        return error.what, str(error.args[1])
    except Exception as error:
        if not rules:
            raise
        return f"our own error: {type(error).__name__}", str(error)[:200]
    return None


def survey(seeds: Iterable[int], rules: Sequence[str] = (), enough: int = 10**9) -> Found:
    """All that breaks, until `enough` worlds have."""
    found: Found = {}
    for seed in seeds:
        if what := broken(seed, rules):
            found.setdefault(what[0], []).append((seed, what[1]))
            if sum(map(len, found.values())) >= enough:
                break
    return found


def _one(job: tuple[Sequence[str], range, int]) -> tuple[Sequence[str], Found]:
    rules, seeds, enough = job
    return rules, survey(seeds, rules, enough)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--worlds", type=int, default=300)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--mutants", action="store_true", help="without each rule in turn")
    words.add_argument("--rule", action="append", default=[])
    words.add_argument("--enough", type=int, default=3)
    words.add_argument("--processes", type=int, default=2)
    asked = words.parse_args()
    seeds = range(asked.first, asked.first + asked.worlds)
    begin = time.perf_counter()
    if asked.mutants or asked.rule:
        mutants: list[Sequence[str]] = [asked.rule] if asked.rule else [*[(name,) for name in RULES], *PAIRS]
        with multiprocessing.Pool(asked.processes) as pool:
            for rules, found in pool.imap(_one, [(rules, seeds, asked.enough) for rules in mutants]):
                told = "; ".join(f"{what}: {[seed for seed, _ in places]}" for what, places in found.items())
                print(f"{' + '.join(rules):52} {told or 'NOT SEEN'}", flush=True)
    else:
        parts = [seeds[k :: asked.processes] for k in range(asked.processes)]
        with multiprocessing.Pool(asked.processes) as pool:
            totals: Counter[str] = Counter()
            for _, found in pool.imap_unordered(_one, [((), part, 10**9) for part in parts]):
                for what, places in found.items():
                    totals[what] += len(places)
                    print(what, places[:5])
        print(dict(totals) or "every invariant holds")
    print(f"{(time.perf_counter() - begin) / asked.worlds * 1000:.1f} ms a world")


if __name__ == "__main__":
    main()
