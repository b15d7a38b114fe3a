"""What sbatch is told of one launch, and the script that it gets. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from elsewhere.backends.base import Launch
from elsewhere.backends.slurm import text
from elsewhere.backends.slurm.settings import SlurmSettings, options
from elsewhere.model.resources import Resources

MOST = 1000
"""Elements of an array: of what is asked for besides, it is asked again. Slurm's own limit is 1001 unless set."""


def words(settings: SlurmSettings, launch: Launch, count: int, base: str) -> list[str]:
    """The options of sbatch. Those of `slurm:` come last, and win."""
    shape = launch.offer.resources if launch.offer is not None else launch.shape
    return [
        "--parsable", f"--job-name={text.NAME}{launch.id}",
        f"--comment={text.labelled({'launch': launch.id, **launch.labels})}",
        f"--output={base}/logs/{'%j' if count == 1 else '%A_%a'}", "--open-mode=append", f"--chdir={base}",
        "--no-requeue", "--nodes=1", "--ntasks=1", f"--time={text.minutes(settings.length)}",
        *needs(shape), *whose(settings), *array(count, launch.abreast), *options(settings.slurm),
    ]  # fmt: skip


def whose(settings: SlurmSettings) -> list[str]:
    """Where it waits, and on whose account."""
    known = {"partition": settings.partition, "account": settings.account, "qos": settings.qos}
    return [f"--{name}={value}" for name, value in known.items() if value]


def array(count: int, abreast: int) -> list[str]:
    """So many elements, of which so many run at a time; 0: all of them. One alone is no array."""
    most = f"%{abreast}" if 0 < abreast < count else ""
    return [f"--array=0-{count - 1}{most}"] if count > 1 else []


def needs(shape: Resources) -> list[str]:
    """CPUs, memory (whole MiB) and GPUs of one job."""
    found = [f"--cpus-per-task={math.ceil(shape.cpus)}"]
    if shape.memory:
        found.append(f"--mem={-(-shape.memory // (1 << 20))}M")
    if shape.gpus:
        kind = f":{shape.gpu_type}" if shape.gpu_type else ""
        found.append(f"--gres=gpu{kind}:{shape.gpus}")
    return found


def script(settings: SlurmSettings, launch: Launch, base: str) -> str:
    """The boot text behind what a job of Slurm says first: who it is, that it is the only one of its launch, and the
    lines that were asked for."""
    own = settings.modules or settings.prologue
    folder = shlex.quote(f"{base}/launches/{launch.id}")
    begun = shlex.quote(f"{base}/launches/{launch.id}/begun")
    return "".join(
        f"{line}\n"
        for line in (
            "#!/bin/bash" if own else "#!/bin/sh",
            "job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}",
            "export ELSEWHERE_MACHINE=$job${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
            f"[ -d {folder} ] || {{ echo 'this node does not see the work-dir' >&2; exit 72; }}",
            f'ln -s "$job" {begun} 2>/dev/null || [ "$(readlink {begun})" = "$job" ] || '
            "{ echo 'another job has this launch' >&2; exit 0; }",
            *modules(settings.modules),
            *settings.prologue,
            launch.script.removeprefix("#!/bin/sh\n").rstrip("\n"),
        )
    )


def modules(asked: Sequence[str]) -> list[str]:
    """Lines for bash that load them."""
    named = [shlex.quote(word) for line in asked for word in line.split()]
    if not named:
        return []
    return [
        "command -v module >/dev/null 2>&1 || . /etc/profile",
        f"module load {' '.join(named)} || {{ echo 'elsewhere: these modules cannot be loaded' >&2; exit 74; }}",
    ]
