"""How a job's progress is shown while it goes on: one live line, plain lines, JSON lines, or nothing.

Drawing only: what the figures are is decided in observe/progress.py. Standard output is left to results.
"""

from __future__ import annotations

import sys
import time
from typing import IO, Any

from elsewhere.cli import terminal
from elsewhere.observe import progress
from elsewhere.observe.progress import Pace, ViewLike

PLAIN_EVERY = 10.0
JSON_EVERY = 1.0
DRAW_EVERY = 0.1


class Quiet:
    """Shows nothing. Also the base of those that do."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.limits: dict[str, float] = {}
        self.default_limit: float | None = None

    def show(self, view: ViewLike) -> None:
        """Called about ten times a second."""
        self.pace.note(time.monotonic(), view.counts.ended)

    def above(self, *lines: str) -> None:
        """Lines that stay, above the live one."""

    def close(self) -> None:
        """Leave the terminal as it was found. Twice: harmless."""


class LiveLine(Quiet):
    """One line on a terminal, drawn over itself."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__()
        self.stream = stream or sys.stderr
        self.colour = terminal.coloured(self.stream)
        self._drawn = 0.0
        self._text = ""

    def show(self, view: ViewLike) -> None:
        super().show(view)
        now = time.monotonic()
        if now - self._drawn < DRAW_EVERY and not view.draining:
            return
        self._drawn = now
        columns = terminal.width(self.stream) - 1  # a full last column would wrap
        if view.draining:
            self._draw(
                terminal.paint(progress.stopping(view, self.limits, self.default_limit, columns), "yellow", self.colour)
            )
        else:
            self._draw(painted(progress.line(view, self.pace, now, columns), self.colour))

    def above(self, *lines: str) -> None:
        self._draw("")
        terminal.tell(*lines)

    def close(self) -> None:
        self._draw("")

    def _draw(self, text: str) -> None:
        if text == self._text:
            return
        self._text = text
        self.stream.write("\r\x1b[K" + text)
        self.stream.flush()


class PlainLines(Quiet):
    """A line about every ten seconds, for files and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()
        self._draining = False

    def show(self, view: ViewLike) -> None:
        super().show(view)
        now = time.monotonic()
        if view.draining and view.running and not self._draining:
            self._draining = True
            self._said = now
            terminal.tell(progress.stopping(view, self.limits, self.default_limit))
        elif now - self._said >= PLAIN_EVERY:
            self._said = now
            terminal.tell(progress.line(view, self.pace, now))

    def above(self, *lines: str) -> None:
        terminal.tell(*lines)


class JsonLines(Quiet):
    """One JSON object a line on standard output: `event` is started, progress or summary."""

    def __init__(self) -> None:
        super().__init__()
        self._said = 0.0
        self._last: dict[str, Any] = {}

    def show(self, view: ViewLike) -> None:
        super().show(view)
        now = time.monotonic()
        figures = progress.facts(view, self.pace, now)
        if now - self._said < JSON_EVERY or figures == self._last:
            return
        self._said, self._last = now, figures
        self.event("progress", **figures, draining=view.draining)

    def event(self, kind: str, **values: Any) -> None:
        terminal.say_json({"event": kind, "at": round(time.time(), 3), **values})
        sys.stdout.flush()


def painted(line: str, on: bool) -> str:
    """The live line with its failures in red, a budget that is nearly spent in yellow, and the rest plain."""
    if not on:
        return line
    parts = line.split("  ")
    return "  ".join(_painted(part) for part in parts)


def _painted(part: str) -> str:
    if part.startswith("failed "):
        return terminal.paint(part, "red", part != "failed 0")
    return terminal.paint(part, "yellow", part.startswith("$") and " of the budget" in part)


def choose(*, quiet: bool = False, json: bool = False) -> Quiet:
    """The way of showing that fits what was asked for and where standard error goes."""
    if json:
        return JsonLines()
    if quiet:
        return Quiet()
    return LiveLine() if terminal.is_terminal(sys.stderr) else PlainLines()
