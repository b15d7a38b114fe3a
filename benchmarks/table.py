"""Rows, those who take part in them, targets; and what was measured, as text. Measures nothing itself."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

OURS, PEER, LIMIT = "ours", "peer", "limit"
Sample = dict[str, float]

LABELS = {
    "cpu": "CPU µs per task",
    "rate": "tasks per second",
    "largest": "largest process, MB",
    "together": "all processes, MB",
    "bytes": "bytes per task",
    "millis": "ms",
    "seconds": "s",
    "resident": "resident MB",
    "private": "of it not shared, MB",
    "ms_cpu": "CPU ms",
    "gap": "% above the bound",
    "calls": "control calls a minute",
    "share": "% of a core",
    "throttled": "requests throttled",
    "files": "files at the most",
}


@dataclass(frozen=True)
class Contestant:
    """`once` takes one measurement. `kind`: ours, a peer, or the machine's own limit."""

    name: str
    once: Callable[[], Sample]
    kind: str = OURS


@dataclass(frozen=True)
class Target:
    """What a figure of `who` should be at most or at least; with `against`, as a multiple of theirs."""

    who: str
    figure: str
    most: float | None = None
    least: float | None = None
    against: str = ""

    def said(self) -> str:
        bound = f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"
        what = f"{self.who}: {LABELS[self.figure]}"
        return f"{what} {bound}" + (f" times {self.against}" if self.against else "")


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    contestants: list[Contestant]
    targets: list[Target] = field(default_factory=list)
    repeat: int | None = None
    """Repetitions, where the usual number would take too long."""
    compare: tuple[str, ...] = ("cpu", "rate")
    """The figures that are shown as multiples too."""


@dataclass
class Measured:
    """The samples of one row; the k-th of each contestant were taken side by side."""

    row: Row
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def values(self, who: str, figure: str) -> list[float]:
        return [sample[figure] for sample in self.samples.get(who, []) if figure in sample]

    def ratios(self, who: str, figure: str, against: str) -> list[float]:
        pairs = zip(self.values(who, figure), self.values(against, figure), strict=False)
        return [mine / theirs for mine, theirs in pairs if theirs]

    def judge(self, target: Target) -> tuple[float, bool] | None:
        """(the median, whether it is reached); None: it was not measured."""
        if target.against:
            found = self.ratios(target.who, target.figure, target.against)
        else:
            found = self.values(target.who, target.figure)
        if not found:
            return None
        middle = statistics.median(found)
        return middle, middle <= target.most if target.most is not None else middle >= (target.least or 0)


def figure(value: float) -> str:
    """Three significant digits, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def spread(values: list[float]) -> str:
    """The median, and between what it lay."""
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({figure(min(values))} to {figure(max(values))})"


def markdown(measured: Measured) -> str:
    """One row as a section: a table of those who took part, and its targets."""
    row = measured.row
    columns = [name for name in LABELS if any(measured.values(c.name, name) for c in row.contestants)]
    lines = [f"### {row.title}", ""]
    ours = next(c.name for c in row.contestants if c.kind == OURS)
    compared = [name for name in row.compare if name in columns]
    heads = [LABELS[c] for c in columns] + [f"ours / theirs, {LABELS[c]}" for c in compared]
    if columns:
        lines += ["| who | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for one in row.contestants:
        if one.name not in measured.samples:
            continue
        cells = [spread(found) if (found := measured.values(one.name, c)) else "" for c in columns]
        for name in compared:
            ratio = measured.ratios(ours, name, one.name) if one.kind != OURS else []
            cells.append(spread(ratio) if ratio else "")
        lines.append(f"| {_named(one)} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"- {line}" for line in judged(measured)]
    for who, why in measured.left_out.items():
        times = len(measured.samples.get(who, []))
        lines.append(
            f"- {who}: " + (f"measured {times} times, then it failed: {why}" if times else f"not measured: {why}")
        )
    return "\n".join([*lines, ""])


def _named(one: Contestant) -> str:
    if one.kind == OURS:
        return f"**{one.name}**"
    return one.name + (" *(limit)*" if one.kind == LIMIT else "")


def judged(measured: Measured) -> Iterable[str]:
    """A sentence for each target of a row."""
    for target in measured.row.targets:
        verdict = measured.judge(target)
        if verdict is not None:
            middle, reached = verdict
            yield f"{target.said()}: {figure(middle)}, {'reached' if reached else '**falls short**'}"
