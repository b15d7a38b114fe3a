"""Runs the examples of a Markdown document as a reader would, in an empty directory of their own.

The convention:
  ```console   lines that begin with `$ ` are typed, one after the other; lines below one are what it prints, where
               `...` stands for anything. A command that ends with another status than 0 says so: `# exit 1`.
  ```python    is a script, run by a Python of its own; `if __name__ == "__main__":` as in any script.
  <!-- file: NAME -->      above a block: it is written to NAME instead, for the blocks below it.
  <!-- prints -->          above a ```text block: what the script or command before it printed (`...` as above).
  <!-- not run: REASON --> above a block: it is not run.
Every other block (```text, ```yaml, ...) without such a line is for reading only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(
    r"(?:^[ ]*<!--[ ]*(?P<note>[^\n]*?)[ ]*-->[ ]*\n\n?)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)[ ]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
PATIENCE = 60
"""Seconds that one command may take."""


class Differs(AssertionError):
    """An example did not do what its document says."""


@dataclass
class Block:
    """One fenced block. `note` is the text of the comment above it, or ""."""

    where: str
    language: str
    note: str
    text: str

    @property
    def left_out(self) -> bool:
        return self.note.startswith("not run:")


def blocks(document: Path) -> list[Block]:
    """Every fenced block of a document, in order."""
    source = document.read_text("utf-8")
    found = []
    for match in BLOCK.finditer(source):
        indent = len(match["indent"])
        text = "".join(line[indent:] if line.strip() else line for line in match["text"].splitlines(keepends=True))
        line = source.count("\n", 0, match.start("language")) + 1
        found.append(Block(f"{document.name}:{line}", match["language"], match["note"] or "", text))
    return found


@dataclass
class Reader:
    """Somebody who types what a document says, in `directory`."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    count: int = 0

    def follow(self, block: Block) -> None:
        if block.left_out:
            return
        kind, _, name = block.note.partition(":")
        if kind == "file":
            path = self.directory / name.strip()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif kind == "prints":
            self._compare(block.text, self.printed, block.where)
        elif block.language == "console":
            for command, expected in session(block.text):
                self._type(command, expected, block.where)
        elif block.language == "python":
            self.count += 1
            script = self.directory / f"example_{self.count}.py"
            script.write_text(block.text, "utf-8")
            self.printed = self._run([sys.executable, str(script)], 0, block.where)

    def _type(self, command: str, expected: str, where: str) -> None:
        status = int(match[1]) if (match := re.search(r"#\s*exit (\d+)\s*$", command)) else 0
        self.printed = self._run(["bash", "-c", command], status, f"{where}: $ {command}")
        if expected.strip():
            self._compare(expected, self.printed, f"{where}: $ {command}")

    def _run(self, words: list[str], status: int, where: str) -> str:
        child = subprocess.Popen(
            words,
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        try:
            printed, _ = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise Differs(f"{where}: not over after {PATIENCE} s; so far:\n{child.communicate()[0]}") from None
        if child.returncode != status:
            raise Differs(f"{where}: exit status {child.returncode}, not {status}; it printed:\n{printed}")
        return printed

    @staticmethod
    def _compare(expected: str, printed: str, where: str) -> None:
        if not re.fullmatch(pattern(squeezed(expected)), squeezed(printed) + "\n", re.DOTALL):
            raise Differs(f"{where}: the document says\n{expected}\nbut it printed\n{printed}")


def pattern(expected: str) -> str:
    """`...` within a line stands for any text; on a line of its own for any lines, also none."""
    lines = ("(?:.*\n)?" if line == "..." else wild(line) + "\n" for line in expected.split("\n"))
    return "".join(lines)


def wild(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.split("..."))


def squeezed(text: str) -> str:
    """Without blank lines, trailing spaces, or a difference between runs of spaces."""
    lines = (re.sub(r"[ \t]+", " ", line.rstrip()) for line in text.splitlines())
    return "\n".join(line for line in lines if line.strip())


def session(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) for each command of a console block; a backslash at the end goes on below."""
    typed: list[tuple[str, str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).removeprefix("> ")
            typed.append((command, ""))
        elif typed:
            command, expected = typed.pop()
            typed.append((command, f"{expected}{line}\n"))
        elif line.strip():
            raise Differs(f"a console block begins with output: {line}")
    return typed
