"""One step of furnishing a machine: a program that ends well, or whose last lines say why the machine is no use."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from elsewhere.errors import ElsewhereError

LIMIT = 900.0
"""Seconds for each step: the dead man's switch stands at twenty minutes until the agent lives."""
LINES = 12


class CannotFurnish(Exception):
    """A step failed; `said` are its last lines. `final`: it would fail on any other machine of the kind, too."""

    def __init__(self, step: str, said: str, final: bool = False) -> None:
        super().__init__(f"{step}: {said}")
        self.step, self.said, self.final = step, said, final

    @classmethod
    def by(cls, step: str, error: ElsewhereError, final: bool = False) -> CannotFurnish:
        """With what to do about it, where it says so."""
        return cls(step, f"{error.message}\n{error.hint}" if error.hint else error.message, final)


def take(
    step: str, words: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None, given: str = ""
) -> None:
    """Its output also goes to our own, which is the boot's."""
    import subprocess

    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, input=given.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CannotFurnish(step, f"it took longer than {LIMIT / 60:.0f} minutes") from error
    except OSError as error:
        raise CannotFurnish(step, f"{words[0]}: {error.strerror}") from error
    sys.stderr.buffer.write(done.stdout)
    sys.stderr.flush()
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-LINES:]
        raise CannotFurnish(step, "\n".join([*last, f"exit status {done.returncode}"]))
