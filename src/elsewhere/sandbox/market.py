"""What a machine costs at a given moment: the invented list price, and a spot price that moves by the seed.

A function of seed, type, zone and time: nothing is stored but what somebody set by hand. Pure.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from decimal import Decimal
from fnmatch import fnmatchcase

from elsewhere.sandbox import catalog

STEP = 3600.0
"""Seconds between two spot prices."""
_WAVE = 6


class Market:
    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._set: dict[tuple[str, str], list[tuple[float, Decimal]]] = {}
        self._lock = threading.Lock()

    def fix(self, kind: str, zone: str, price: Decimal, now: float) -> None:
        """From now on, spot machines of these types (a glob) cost this there (empty: everywhere)."""
        with self._lock:
            self._set.setdefault((kind, zone), []).append((now, price))

    def on_demand(self, kind: str, region: str) -> Decimal:
        return catalog.on_demand(kind, region)

    def spot(self, kind: str, zone: str, at: float) -> Decimal:
        """Dollars an hour. Between a fifth and the whole of the list price, unless it was set."""
        fixed = self._fixed(kind, zone, at)
        if fixed is not None:
            return fixed
        step = int(at // STEP)
        level = 0.22 + 0.28 * self._chance(kind, zone, "level")
        # Between two marks six hours apart the price goes straight from one to the other, and trembles a little.
        mark, part = divmod(step, _WAVE)
        before, after = self._chance(kind, zone, mark), self._chance(kind, zone, mark + 1)
        wave = before + (after - before) * part / _WAVE
        share = level * (0.75 + 0.5 * wave) * (0.98 + 0.04 * self._chance(kind, zone, f"t{step}"))
        price = Decimal(float(catalog.on_demand(kind, region_of(zone))) * min(share, 1.0))
        return max(price.quantize(Decimal("0.0001")), Decimal("0.0001"))

    def history(self, kind: str, zone: str, start: float, end: float) -> Iterator[tuple[float, Decimal]]:
        """Each change in that time, newest first, and the price that stood at its start."""
        moment = end // STEP * STEP
        last = self.spot(kind, zone, end)
        while moment > start:
            before = self.spot(kind, zone, moment - 1)
            if before != last:
                yield moment, last
                last = before
            moment -= STEP
        yield moment, last

    def cost(self, kind: str, zone: str, start: float, end: float) -> Decimal:
        """Dollars for a spot machine between two moments, each second at its price."""
        total, moment = Decimal(0), start
        with self._lock:
            turns = sorted(since for prices in self._set.values() for since, _ in prices if start < since < end)
        while moment < end:
            upto = min((moment // STEP + 1) * STEP, end, *(turn for turn in turns if turn > moment))
            total += self.spot(kind, zone, moment) * Decimal(upto - moment) / 3600
            moment = upto
        return total

    def _fixed(self, kind: str, zone: str, at: float) -> Decimal | None:
        with self._lock:
            found = [
                (since, price)
                for (glob, where), prices in self._set.items()
                if fnmatchcase(kind, glob) and where in ("", zone)
                for since, price in prices
                if since <= at
            ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _chance(self, kind: str, zone: str, word: object) -> float:
        digest = hashlib.sha256(f"{self.seed}/{kind}/{zone}/{word}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / (1 << 48)


def region_of(zone: str) -> str:
    return zone.rstrip("abcdefghijklmnopqrstuvwxyz")
