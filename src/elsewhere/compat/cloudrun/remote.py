"""`maestro: remote`: the stages go on on a small machine that is hired for them, and this program may end.

There the same configuration is conducted as a local maestro would (command.py); here it is asked how things stand. When
all is over the jobs come home, and are found as those of a local maestro are.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elsewhere.api import choosing
from elsewhere.compat.cloudrun import machines
from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.words import Config
from elsewhere.controller import away as known
from elsewhere.controller import hired, seat
from elsewhere.errors import Vacant

FILE = "elsewhere-cloudrun.py"
"""The configuration there, in the directory that the jobs are run from."""
EVERY = 5.0
"""Seconds between two questions: each is a command there."""
Told = dict[str, Any]


class Maestro:
    """The machine, and what it tells. `said`: for people."""

    def __init__(self, config: Config, cwd: Path, said: Callable[[str], None]) -> None:
        self._config, self._cwd, self._said = config, cwd, said
        self._away: known.Away | None = None
        self._told: Told | None = None
        self._asked = float("-inf")
        self.is_home = False

    def begin(self, names: Sequence[str]) -> None:
        """The runs of these names go on there: on the machine that has them, or on a new one. Twice: harmless."""
        if self._away is not None or self.is_home:
            return
        found = [one for one in known.records() if one.seat and one.name in names]
        if found and self._config["recover"]:
            self._away = found[0]
            return
        place = replace(machines.base())
        terms = hired.terms(place, place.limits.budget or choosing.BUDGET)
        if terms is None:
            raise CloudRunError(f"no maestro can sit at {place.name}", hint="Write maestro: 'local'.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / FILE
            path.write_text(text(self._config))
            away = seat.settle(place, self._cwd, {FILE: path}, seat.needs_of(place), terms, self._said)
        try:
            told = self._conducted(away)
            for name, job in told["runs"].items():
                away = known.keep(away, job, name, time.time())
        except BaseException:
            hired.dismiss(away)
            raise
        self._away, self._told = away, told
        hired.begin(away, ["compat", "cloudrun", "conduct", "--wait", FILE], at=seat.PROJECT, stays=True)

    def told(self) -> Told | None:
        """How all stands there. None: it has come home. Vacant: the machine is gone."""
        if self._away is None:
            return None
        if self._told is not None and time.monotonic() - self._asked < EVERY:
            return self._told
        try:
            if hired.come_home(self._away) is None:
                self._told = self._conducted(self._away)
                self._asked = time.monotonic()
                return self._told
        except Vacant:
            if hired.come_home(self._away) is None:
                raise
        self._away, self.is_home = None, True
        return None

    def cancel(self, name: str) -> None:
        """What a run there has not done is given up. Over, or at home: nothing is to be done."""
        if self._away is not None:
            with tempfile.TemporaryFile() as out:
                hired.ask(self._away, ["cancel", name], out.fileno())

    def _conducted(self, away: known.Away) -> Told:
        with tempfile.TemporaryFile() as out:
            words = ["compat", "cloudrun", "conduct", FILE]
            status = hired.ask(away, words, out.fileno(), at=seat.PROJECT, stays=True)
            out.seek(0)
            lines = out.read().splitlines()
        if status or not lines:
            raise CloudRunError(f"the maestro on {away.host} ended with status {status}")
        found: Told = json.loads(lines[-1])
        return found


def text(config: Config) -> str:
    """A file with this configuration, for a maestro that is local to the machine where it sits."""
    words = {**config, "maestro": "local", "recover": True}
    return f"import datetime\nfrom decimal import Decimal\n\nconfig = {words!r}\n"
