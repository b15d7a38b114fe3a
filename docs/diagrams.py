"""Draws the two state diagrams of the architecture page from the tables of elsewhere.model.states.

    python docs/diagrams.py       writes docs/pictures/*.svg; a test holds that they are up to date

The tables say what is drawn; only where each state stands on the page is said here.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elsewhere.model.states import ALLOCATION_MOVES, TASK_MOVES

PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 128, 40
"""Of a state's box."""

Point = tuple[float, float]
Table = Mapping[tuple[Any, Any], Any]

TASK_PLACES: dict[str, Point] = {
    "READY": (90, 150),
    "HANDED_OUT": (400, 150),
    "WAITING": (310, 245),
    "FAILED": (680, 60),
    "SUCCEEDED": (680, 150),
    "CANCELLED": (680, 330),
}
TASK_BENDS = {
    ("READY", "HANDED_OUT"): -0.05,
    ("HANDED_OUT", "READY"): -0.05,
    ("FAILED", "READY"): 0.08,
    ("READY", "CANCELLED"): 0.19,
}

ALLOCATION_PLACES: dict[str, Point] = {
    "PLANNED": (90, 60),
    "FAILED": (90, 200),
    "PENDING": (360, 60),
    "RUNNING": (360, 200),
    "UNREACHABLE": (360, 340),
    "STOPPED": (760, 30),
    "STOPPING": (760, 200),
    "LOST": (760, 370),
}
ALLOCATION_BENDS = {
    ("PENDING", "RUNNING"): -0.3,
    ("RUNNING", "PENDING"): -0.3,
    ("RUNNING", "UNREACHABLE"): -0.3,
    ("UNREACHABLE", "RUNNING"): -0.3,
}
LABELS_AT = {"PENDING": 0.2, "RUNNING": 0.34, "UNREACHABLE": 0.2}
"""How far along an arrow to the right its label stands, where the middle is crowded."""


def edges(table: Table) -> dict[tuple[str, str], str]:
    """{(from, to): label}, in the table's order; two moves between the same states share an arrow."""
    found: dict[tuple[str, str], str] = {}
    for (state, move), after in table.items():
        key = (state.name, after.name)
        found[key] = f"{found[key]}, {move.value}" if key in found else move.value
    return found


def draw(table: Table, places: Mapping[str, Point], bends: Mapping[tuple[str, str], float], title: str) -> str:
    """The diagram as SVG. KeyError for a state that has no place on the page."""
    states: type[enum.Enum] = type(next(iter(table.values())))
    arrows = {pair: Curve(places[pair[0]], places[pair[1]], bends.get(pair, 0.0)) for pair in edges(table)}
    right = max(places[state.name][0] for state in states) + WIDTH / 2 + 16
    down = max([places[state.name][1] + HEIGHT / 2 for state in states] + [c.at(0.5)[1] + 12 for c in arrows.values()])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {down + 12:.0f}" role="img" '
        'font-family="ui-sans-serif, system-ui, sans-serif" font-size="14">',
        f"<title>{title}</title>",
        f'<rect width="{right:.0f}" height="{down + 12:.0f}" rx="10" fill="#fbfbfd"/>',
    ]
    lines += [arrow(curve) for curve in arrows.values()]
    lines += [box(state.name, places[state.name], bool(getattr(state, "ended", False))) for state in states]
    for pair, text in edges(table).items():
        far = abs(places[pair[1]][0] - places[pair[0]][0]) > 2 * WIDTH
        lines.append(label(arrows[pair].at(LABELS_AT.get(pair[0], 0.5) if far else 0.5), text))
    return "\n".join([*lines, "</svg>", ""])


def box(name: str, place: Point, ended: bool) -> str:
    x, y = place
    fill, stroke = ("#e7f0e9", "#4a7a58") if ended else ("#e8ecf8", "#4a5a9a")
    return (
        f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="9" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.4"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" '
        f'font-weight="600" fill="#223">{name.replace("_", " ").lower()}</text>'
    )


def edge_of(box_at: Point, towards: Point, gap: float = 0.0) -> Point:
    """Where the line from the middle of a box towards a point leaves the box."""
    (x, y), (tx, ty) = box_at, towards
    dx, dy = tx - x, ty - y
    half_width, half_height = WIDTH / 2 + gap, HEIGHT / 2 + gap
    scale = min(half_width / abs(dx) if dx else math.inf, half_height / abs(dy) if dy else math.inf)
    return x + dx * scale, y + dy * scale


class Curve:
    """From the edge of one box to the edge of another, pulled aside by `bend` of the length."""

    def __init__(self, a: Point, b: Point, bend: float) -> None:
        (ax, ay), (bx, by) = a, b
        self.pull = (ax + bx) / 2 - (by - ay) * bend * 2, (ay + by) / 2 + (bx - ax) * bend * 2
        self.start, self.end = edge_of(a, self.pull), edge_of(b, self.pull, 2)

    def at(self, t: float) -> Point:
        """The point at share `t` of the way."""
        weights = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points = self.start, self.pull, self.end
        x = sum(weight * point[0] for weight, point in zip(weights, points, strict=True))
        y = sum(weight * point[1] for weight, point in zip(weights, points, strict=True))
        return x, y


def arrow(curve: Curve) -> str:
    (sx, sy), (mx, my), (ex, ey) = curve.start, curve.pull, curve.end
    turn = math.degrees(math.atan2(ey - my, ex - mx))
    return (
        f'<path d="M{sx:.1f} {sy:.1f} Q{mx:.1f} {my:.1f} {ex:.1f} {ey:.1f}" fill="none" stroke="#556" '
        f'stroke-width="1.4"/><path d="M0 0 -10 4.5 -10 -4.5z" fill="#556" '
        f'transform="translate({ex:.1f} {ey:.1f}) rotate({turn:.1f})"/>'
    )


def label(place: Point, text: str) -> str:
    x, y = place
    common = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="13"'
    return f'<text {common} stroke="#fbfbfd" stroke-width="5">{text}</text><text {common} fill="#334">{text}</text>'


def moves(table: Table) -> str:
    """The table as Markdown."""
    rows = [
        f"| {state.name.replace('_', ' ').lower()} | {move.value} | {after.name.replace('_', ' ').lower()} |"
        for (state, move), after in table.items()
    ]
    return "\n".join(["| from | move | to |", "|---|---|---|", *rows, ""])


def pictures() -> dict[str, str]:
    """{file name: text} of all that is drawn."""
    return {
        "task-states.svg": draw(TASK_MOVES, TASK_PLACES, TASK_BENDS, "The states of a task"),
        "allocation-states.svg": draw(
            ALLOCATION_MOVES, ALLOCATION_PLACES, ALLOCATION_BENDS, "The states of an allocation"
        ),
    }


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for name, text in pictures().items():
        (PICTURES / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
