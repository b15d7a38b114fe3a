"""The driver's own program on machines of types with GPUs: it shows what the type has, or fails when it is told to.

There is no GPU behind it: what a task would do on one fails as anywhere without.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

ACTION = "nvidia-smi"
"""What an order to go wrong names: the next machine of such a type that boots has a broken driver."""
_BROKEN = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


def program(gpus: Sequence[tuple[str, int]], broken: bool) -> str:
    """The text of `nvidia-smi`, which lists these with -L."""
    if broken:
        return f"#!/bin/sh\necho {shlex.quote(_BROKEN)}\nexit 9\n"
    names = [name for name, count in gpus for _ in range(count)]
    lines = [f"GPU {number}: NVIDIA {name} (UUID: GPU-{number:08d})" for number, name in enumerate(names)]
    return "#!/bin/sh\n" + "".join(f"echo {shlex.quote(line)}\n" for line in lines)
