"""What a user's own startup script finds in its environment, and the shell text that runs it. Pure; it holds no secret.

The script starts a worker, and that worker becomes the machine's agent. A script that ends without one has failed: its
last lines are told to the controller, by our own agent, which is fetched for that alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from elsewhere.model.job import JobSpec
from elsewhere.model.place import Offer

AGENT = "ELSEWHERE_AGENT_"
"""Begins the variables that a worker must know to become the agent; none of them is left to tasks."""
SEED = "RMS_CLOUD_TASKS_"
"""Begins the variables that workers of rms-cloud-tasks know."""
MARK = "worker"
"""A file in the agent's directory: the number of the process that is about to become the agent."""
LOG = "startup.log"
FILE = "startup.sh"
LONGEST = 1 << 20
"""Bytes of a startup script: more is a program that was taken for one."""
_OPTIONS = ("QUEUE_NAME", "EXACTLY_ONCE_QUEUE", "KEEPALIVE_INTERVAL", "MAX_MEMORY_ALLOWED_PER_TASK",
            "SHUTDOWN_GRACE_PERIOD", "RETRY_ON_EXIT", "RETRY_ON_EXCEPTION", "RETRY_ON_TIMEOUT")  # fmt: skip


def variables(spec: JobSpec, offer: Offer, slots: int) -> dict[str, str]:
    """What the seed exports of a job and of a machine of this offer. What is not known is left out."""
    has = offer.resources
    found: dict[str, Any] = {
        "PROVIDER": spec.backend or spec.place,
        "JOB_ID": spec.name,
        "QUEUE_NAME": spec.name,
        "EVENT_LOG_TO_QUEUE": True,
        "INSTANCE_TYPE": offer.name,
        "INSTANCE_NUM_VCPUS": int(has.cpus),
        "INSTANCE_MEM_GB": _gigabytes(has.memory),
        "INSTANCE_BOOT_DISK_GB": _gigabytes(has.disk),
        "INSTANCE_IS_SPOT": offer.spot,
        "INSTANCE_PRICE": f"{offer.price:f}",
        "NUM_TASKS_PER_INSTANCE": slots,
        "MAX_RUNTIME": f"{spec.timeout.total_seconds():g}" if spec.timeout else None,
    }
    known = {name: spec.worker.get(name.lower()) for name in _OPTIONS}
    found.update({name: value for name, value in known.items() if value is not None})
    return {SEED + name: _text(value) for name, value in found.items() if value is not None}


def _gigabytes(size: int | None) -> str | None:
    return None if size is None else f"{size / (1 << 30):g}"


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def lines(words: Mapping[str, str], exported: Mapping[str, str], folder: str, failed: str, joined: str) -> str:
    """Shell text that runs the script of `folder` and sets `status`.

    `words`: what the agent must know, each as shell text; `failed`: shell text that tells `$status` and the log home;
    `joined`: a file that every living agent makes.
    The script's own directory and file mode are what they would be without us. A worker that it leaves in the
    background is waited for.
    """
    names = [f"export {AGENT}{name}={word}" for name, word in words.items()]
    names += [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    script = f'"$HERE"/{shlex.quote(folder)}/{FILE}'
    return "\n".join([
        'export HOME="${HOME:-/root}"',
        *names,
        f": >{LOG}; tail -c +1 -f {LOG} & tail=$!",
        f'(umask 022; cd "$OLDPWD" && exec bash {script}) >>{LOG} 2>&1 </dev/null',
        "status=$? tries=0",
        f"while [ $status = 0 ] && [ ! -s {MARK} ] && [ $tries -lt 10 ]; do tries=$((tries + 1)); sleep 1; done",
        f'{{ read -r pid <{MARK} && while kill -0 "$pid"; do sleep 1; done; }} 2>/dev/null',
        f"if [ ! -e {joined} ]; then",
        '  echo "elsewhere: the startup script ended with status $status and started no worker" >&2',
        f"  ({failed}) && sleep 30  # whoever was told stops us before",
        "  [ $status != 0 ] || status=70",
        "fi",
        "kill $tail",
        "",
    ])  # fmt: skip
