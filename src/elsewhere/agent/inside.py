"""`python -m elsewhere.agent.inside ORDER WORD...`: run a command for a person, in a container or beside it.

Our process becomes the runtime's: the terminal, the streams and the exit status are the command's own. Without words
the image is only had, so that whoever comes later need not wait for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from elsewhere.errors import ElsewhereError
from elsewhere.model.job import Box, Mount
from elsewhere.ship import containers, images
from elsewhere.slot import keeper

CANNOT = 125
"""Our exit status where nothing was begun, as other programs have it that run programs."""
_PROMPT = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -i; exec sh -i")


@dataclass(frozen=True, slots=True)
class Order:
    """`box`: the container. `work`: the directory to be in, which is mounted; empty: where we are. `shell`: a prompt,
    where there are no words."""

    box: Box
    work: str = ""
    shell: bool = False


_read = msgspec.json.Decoder(Order)
pack = msgspec.json.Encoder().encode


def main(argv: Sequence[str]) -> int:
    os.environ.pop("PYTHONPATH", None)
    order = _read.decode(argv[0])
    try:
        os.chdir(order.work or ".")
        box = images.settle(order.box, told=True)
        words = list(argv[1:]) or (list(_PROMPT) if order.shell else [])
        if words:
            _become(order, box, words)
    except ElsewhereError as error:
        print(f"elsewhere: {error.message}" + f"\n{error.hint}" * bool(error.hint), file=sys.stderr)  # noqa: T201
        return CANNOT
    except OSError as error:
        print(f"elsewhere: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return CANNOT
    found = box.found
    print(f"by {found.kind}, Python {found.version or 'none'}" if found else "")  # noqa: T201
    return 0


def _become(order: Order, box: Box, words: list[str]) -> NoReturn:
    here = str(Path.cwd())
    mounts = [Mount(here, here)]
    found = box.found
    assert found is not None
    if found.kind == "charliecloud":
        containers.make_targets(Path(found.image), containers.least([*box.mounts, *mounts]))
    plan = containers.plan(box, mounts, {"TERM"} & os.environ.keys(), bool(_gpus()))
    plan["words"] = containers.attended(plan["words"], found.kind, os.isatty(0))
    sys.stdout.flush()
    told = keeper.command(plan, words)
    os.execve(told[0], told, keeper.environment(plan))


def _gpus() -> str:
    """Those that whoever started us was given."""
    return os.environ.get("SLURM_JOB_GPUS") or os.environ.get("CUDA_VISIBLE_DEVICES", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
