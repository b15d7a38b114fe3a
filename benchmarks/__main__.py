"""`python -m benchmarks`: measure the rows, side by side and in turns, and show the table.

python -m benchmarks                        all rows that need nothing but this package
python -m benchmarks --full                 also those of a million tasks
python -m benchmarks --peers                also tools from the package index, each in its own environment
python -m benchmarks --only noop,start      rows whose key begins so
python -m benchmarks --write docs/performance.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from benchmarks import machine, rows, table
from benchmarks.ground import Ground
from benchmarks.meter import BYTECODE, Failed
from benchmarks.table import Measured, Row

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    asked = _arguments()
    os.environ.update(BYTECODE)
    ground = Ground(asked.under, asked.small)
    try:
        found = rows.all_rows(ground, full=asked.full, peers=asked.peers)
        wanted = [row for row in found if not asked.only or row.key.startswith(tuple(asked.only.split(",")))]
        if asked.list:
            print("\n".join(f"{row.key:16} {row.title}" for row in wanted))
            return 0
        began = time.time()
        loads: list[float] = []
        measured = [_measure(row, asked.repeat, loads) for row in wanted]
        text = "\n".join([machine.described(began, loads), "", *[table.markdown(one) for one in measured]])
    finally:
        ground.close()
    print(text)
    if asked.json:
        told = {one.row.key: {"samples": one.samples, "left out": one.left_out} for one in measured}
        asked.json.write_text(json.dumps(told, indent=1))
    if asked.write:
        _write(asked.write, text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--full", action="store_true", help="also the rows of a million tasks")
    parser.add_argument("--small", action="store_true", help="only to see that it runs: a few tasks in each row")
    parser.add_argument("--peers", action="store_true", help="also tools from the package index (installs them)")
    parser.add_argument("--only", default="", metavar="KEY,...", help="only rows whose key begins so")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each row (5)")
    parser.add_argument("--under", type=Path, help="directory for files, on a real disk (TMPDIR or /var/tmp)")
    parser.add_argument("--json", type=Path, help="write every sample here")
    parser.add_argument("--write", type=Path, help="put the tables into this page, between its two markers")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_args()


def _measure(row: Row, repeat: int, loads: list[float]) -> Measured:
    """All who take part, in turns, so that a machine that slows down slows all of them."""
    measured = Measured(row)
    for turn in range(min(repeat, row.repeat or repeat)):
        for one in row.contestants:
            if one.name in measured.left_out:
                continue
            print(f"{row.key}: {turn + 1}: {one.name}", file=sys.stderr, flush=True)
            loads.append(machine.waiting())
            try:
                measured.samples.setdefault(one.name, []).append(one.once())
            except Failed as error:
                measured.left_out[one.name] = str(error).strip().splitlines()[0][:300]
                if not measured.samples[one.name]:
                    del measured.samples[one.name]
                print(f"  left out: {error}", file=sys.stderr, flush=True)
    return measured


def _write(page: Path, text: str) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
