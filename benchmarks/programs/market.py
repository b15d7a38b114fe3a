"""A catalog like that of a large cloud, made by a seed: about 900 types in 110 zones, on demand and spot.

Not a copy of any price list: families differ in price per CPU and memory, sizes double, spot moves by zone and type.
"""

from __future__ import annotations

import random
from array import array
from datetime import UTC, datetime

from elsewhere.model.catalog import Catalog, Extras, MachineType, Zone

SIZES = (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("8xlarge", 32), ("12xlarge", 48),
         ("16xlarge", 64), ("24xlarge", 96), ("48xlarge", 192))  # fmt: skip
MEMORY = {"c": 2, "m": 4, "r": 8, "x": 16}
GIB = 1 << 30


def catalog(seed: int = 1, families: int = 100, zones: int = 110) -> Catalog:
    """Rows: those zones in which a family is sold, for each of its sizes, on demand and mostly also spot."""
    chance = random.Random(seed)
    places = [Zone(f"region-{k // 3:02d}{'abc'[k % 3]}", f"region-{k // 3:02d}") for k in range(zones)]
    dear = {zone.region: chance.uniform(1.0, 1.5) for zone in places}
    types, rows = [], []
    for number in range(families):
        letter = chance.choice("cccmmmrrx")
        arm = chance.random() < 0.25
        per_cpu = chance.uniform(0.030, 0.055) * (0.8 if arm else 1) * (1 + MEMORY[letter] / 20)
        sold = [k for k in range(zones) if chance.random() < 0.56]
        mood = {k: chance.uniform(0.25, 0.75) for k in sold}
        for size, cpus in SIZES:
            kind = len(types)
            types.append(MachineType(f"{letter}{number}.{size}", cpus, cpus * MEMORY[letter] * GIB,
                                     "arm64" if arm else "x86_64", "graviton" if arm else "xeon"))  # fmt: skip
            for k in sold:
                price = int(per_cpu * cpus * dear[places[k].region] * 1e6)
                rows.append((kind, k, 0, price))
                rows.append((kind, k, 1, int(price * mood[k] * chance.uniform(0.8, 1.25))))
    chance.shuffle(rows)
    kind, zone, spot, price = zip(*rows, strict=True)
    extras = {zone.region: Extras(int(80_000 * dear[zone.region]), 5_000) for zone in places}
    return Catalog(datetime(2026, 1, 1, tzinfo=UTC), tuple(types), tuple(places), array("I", kind), array("I", zone),
                   array("b", spot), array("q", price), extras)  # fmt: skip
