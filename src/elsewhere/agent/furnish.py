"""What a machine needs before its first task: packages of the system, an interpreter with the software, setup lines.

A step that fails is told with its own last lines, and the machine goes. What is done is done once per machine.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path

from elsewhere.agent import environments, sharing
from elsewhere.agent.boot import Boot
from elsewhere.agent.steps import CannotFurnish, take
from elsewhere.errors import ElsewhereError
from elsewhere.model.job import Box, Input, JobSpec
from elsewhere.ship import prefix
from elsewhere.ship.charter import Charter, unpack

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def furnish(charter: Charter, own: Path) -> JobSpec:
    """The job as it reads where all that its environment asks for is there. CannotFurnish."""
    spec = replace(charter.spec, inputs=_inputs(charter.spec, own))
    if spec.cwd:
        Path(spec.cwd).mkdir(parents=True, exist_ok=True)  # an archive of no files makes no directory
    if spec.resources.gpus:
        take("gpus", ["nvidia-smi"])  # a driver that does not work is seen here, not by each task
    if spec.apt:
        _install(spec)
    if spec.box is not None:
        return replace(spec, box=_settled(spec, own))
    folder = environments.ready(charter, own)
    env = {} if folder is None else environments.variables(folder)
    if spec.julia is not None:
        env = prefix.joined(env, environments.julia(charter, own))
    if spec.setup and environments.is_own(folder, own):
        before = sharing.seen(spec, own)
        sharing.run(spec, own, env)
        if folder is not None:
            sharing.learn(charter.spec, own, folder, before)
    python = "" if folder is None else prefix.python_of(folder)
    return replace(spec, python=python or spec.python, env={**env, **spec.env})


def _settled(spec: JobSpec, own: Path) -> Box:
    """The container, once this machine has its image."""
    from elsewhere.ship import images

    assert spec.box is not None
    for mount in spec.box.mounts:
        if mount.sent and not Path(mount.source).exists():
            Path(mount.source).mkdir(parents=True)  # an archive of no files makes no directory
    try:
        box = images.settle(spec.box, told=True, env=spec.env)
        images.check_kind(box, spec.entry.kind)
        Boot.of(replace(spec, box=box), own, b"").plan()
    except ElsewhereError as error:
        raise CannotFurnish.by("container", error, final=isinstance(error, images.Never)) from error
    return box


def _inputs(spec: JobSpec, own: Path) -> tuple[Input, ...]:
    """Fetched, where they are named by URLs; none may be written to."""
    for folder, _, names in os.walk(own / "inputs"):
        for name in names:
            path = f"{folder}/{name}"
            has = os.lstat(path).st_mode
            wanted = 0o555 if has & 0o100 else 0o444
            if stat.S_ISREG(has) and stat.S_IMODE(has) != wanted:
                Path(path).chmod(wanted)
    if not spec.inputs:
        return ()
    from elsewhere.ship.inputs import fetched

    try:
        return fetched(spec.inputs, own / "fetched")
    except ElsewhereError as error:
        raise CannotFurnish("inputs", error.message) from error


def _install(spec: JobSpec) -> None:
    """Packages of the system that are not there, through the proxy that the job's variables name, if they do."""
    from elsewhere.ship import built

    wanted = [one for one in spec.apt if "=" in one or built.missing([one])]
    if not wanted:
        return
    if os.geteuid() and shutil.which("sudo") is None:
        raise CannotFurnish("apt", f"there is no {' and no '.join(wanted)} here, and we are not root")
    proxies = {name: value for name, value in spec.env.items() if name.lower() in _PROXIES}
    keep = [f"--preserve-env={','.join(proxies)}"] if proxies else []
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n", *keep]
    env = {**os.environ, **proxies, "DEBIAN_FRONTEND": "noninteractive"}
    take("apt", [*as_root, "apt-get", "-q", "update"], env)
    take("apt", [*as_root, "apt-get", "-q", "install", "-y", "--no-install-recommends", "--", *wanted], env)


def main(own: Path) -> int:
    """`python -m elsewhere.agent.furnish DIRECTORY`: furnish this machine as the charter there says."""
    os.environ.pop("PYTHONPATH", None)
    charter = unpack((own / "charter" / "charter").read_bytes())
    try:
        furnish(replace(charter, spec=charter.there(own, sys.executable)), own)
    except CannotFurnish as error:
        print(f"elsewhere: it cannot be built: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
