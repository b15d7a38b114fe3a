"""Plays many worlds, with rules or without, and says which invariants broke: `python tests/worlds/survey.py --help`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from worlds.rules import PAIRS, RULES, without
from worlds.world import Broken, World

SHOWN = Path(__file__).parent / "shown.txt"
Found = dict[str, list[tuple[int, str]]]
"""Invariant -> (seed, story) of the worlds in which it broke."""


def broken(seed: int, rules: Sequence[str] = (), aside: bool = False) -> tuple[str, str] | None:
    """What breaks in that world without these rules, with its story; None: nothing does."""
    try:
        with without(rules):
            World(seed, aside).play()
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


@dataclass(frozen=True)
class Shown:
    """A world that shows what becomes of it without these rules."""

    rules: tuple[str, ...]
    seed: int
    invariant: str

    @property
    def title(self) -> str:
        return " + ".join(self.rules)


def shown() -> list[Shown]:
    """What is known of each rule: `shown.txt`, written by `--write`."""
    lines = [line.split("|") for line in SHOWN.read_text().splitlines() if line]
    return [Shown(tuple(rules.strip().split(" + ")), int(seed), what.strip()) for rules, seed, what in lines]


def table() -> str:
    """The table of docs/worlds.md."""
    rows = ["| rule | what it says | without it | seen in world |", "|---|---|---|---|"]
    for mutant in shown():
        texts = (
            "; ".join(RULES[name].text for name in mutant.rules)
            if len(mutant.rules) == 1
            else "one covers for the other"
        )
        rows.append(f"| {mutant.title} | {texts} | {mutant.invariant} | {mutant.seed} |")
    return "\n".join(rows) + "\n"


def write(mutants: Sequence[Sequence[str]], found: dict[tuple[str, ...], Found]) -> None:
    """Keep for each mutant the first world that shows it; those not looked at stay as they were."""
    known = {mutant.rules: mutant for mutant in shown()} if SHOWN.exists() else {}
    for rules, places in found.items():
        if places:
            seed, what = min((seeds[0][0], what) for what, seeds in places.items())
            known[rules] = Shown(rules, seed, what)
    lines = [known[tuple(rules)] for rules in mutants if tuple(rules) in known]
    SHOWN.write_text("".join(f"{m.title:52} | {m.seed:5} | {m.invariant}\n" for m in lines))


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
    words.add_argument("--write", action="store_true", help="keep what is found in shown.txt")
    words.add_argument("--missing", action="store_true", help="only rules that shown.txt does not have")
    asked = words.parse_args()
    seeds = range(asked.first, asked.first + asked.worlds)
    begin = time.perf_counter()
    if asked.mutants or asked.rule:
        everything: list[Sequence[str]] = [*[(name,) for name in RULES], *PAIRS]
        known = {mutant.rules for mutant in shown()} if asked.missing else set()
        mutants = [asked.rule] if asked.rule else [rules for rules in everything if tuple(rules) not in known]
        kept: dict[tuple[str, ...], Found] = {}
        with multiprocessing.Pool(asked.processes) as pool:
            for rules, found in pool.imap(_one, [(rules, seeds, asked.enough) for rules in mutants]):
                told = "; ".join(f"{what}: {[seed for seed, _ in places]}" for what, places in found.items())
                print(f"{' + '.join(rules):52} {told or 'NOT SEEN'}", flush=True)
                kept[tuple(rules)] = found
                if asked.write:
                    write(everything, kept)
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
