"""SHIP our agent: this package and what it needs there, for an interpreter and a platform, as one archive.

Made here, so that no package index need be reached from the machine. What is installed here is taken as it is where
the machine's Python is like ours; for another one uv fetches the same versions.
"""

from __future__ import annotations

import marshal
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import util
from importlib.machinery import SourceFileLoader
from pathlib import Path

import elsewhere
from elsewhere.errors import ConfigError, MissingExtra
from elsewhere.ship import indexes
from elsewhere.ship.bundle import Bundle, kept, pack, stamps, tree
from elsewhere.ship.marks import AGENT

WHOLE = (*AGENT, "apsw", "backports.zstd", "pycparser", "pyyaml")
"""What a controller imports besides; places may need more."""
_LEFT_OUT = ("cli/", "sandbox/", "testing/", "compat/", "integrations/")
_UNCHECKED = (1).to_bytes(4, "little")
"""In the head of a compiled file: it holds whatever its source is (PEP 552)."""
_SERVICES = ("sqs", "s3", "sts", "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json")
"""Of botocore's descriptions of services, those that an agent speaks to."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whose Python an archive is for: `3.12`, and a machine's architecture (x86_64, arm64)."""

    python: str
    architecture: str

    @property
    def ours(self) -> bool:
        """Is it like the one that runs this?"""
        return self == own() and sys.platform == "linux"


def own() -> Target:
    machine = platform.machine().lower()
    return Target(
        f"{sys.version_info.major}.{sys.version_info.minor}",
        {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine),
    )


def runtime(target: Target, also: Sequence[str] = ()) -> Bundle:
    """The archive of our agent for this target; `also`: the distributions that its channel needs.

    The same versions as here. Cached by what is in it: the second time it is there at once. MissingExtra: uv is not
    installed, and the target is not like this machine. ConfigError: a package has no wheel for it.
    """
    names = sorted({*AGENT, *also})
    return kept("runtimes", _mark(target, names), lambda: _runtime(target, names, _LEFT_OUT, _wanted))


def whole(target: Target, also: Sequence[str] = ()) -> Bundle:
    """The archive of all of us for this target, which can pack the archive of an agent itself. Else as `runtime`."""
    names = sorted({*WHOLE, *also} - ({"backports.zstd"} if target.python >= "3.14" else set()))
    return kept("controllers", _mark(target, names, ()), lambda: _runtime(target, names, (), lambda name: True))


def _runtime(target: Target, names: Sequence[str], without: Sequence[str], wanted: Callable[[str], bool]) -> Bundle:
    own_files = tree(Path(elsewhere.__file__).parent, "elsewhere/", without)
    if target.ours:
        files = {**own_files, **_installed(names, wanted)}
        with tempfile.TemporaryDirectory() as folder:
            return pack({**files, **_compiled(files, Path(folder))})
    with tempfile.TemporaryDirectory() as folder:
        from importlib.metadata import version  # what it reads is seldom needed, and slow to load

        install([f"{name}=={version(name)}" for name in names], target, Path(folder), closed=True)
        return pack({**own_files, **{k: v for k, v in tree(Path(folder)).items() if wanted(k)}})


def _compiled(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """What an interpreter makes of these before it runs them, as it lies beside them or is made now.

    It is told to look at no times: both travel together. What this Python cannot read is nothing that we import."""
    found = {}
    for number, (name, path) in enumerate(files.items()):
        if name.endswith(".py"):
            with suppress(SyntaxError, ValueError):
                code = SourceFileLoader(name, str(path)).get_code(name)
                head = util.MAGIC_NUMBER + _UNCHECKED + util.source_hash(path.read_bytes())
                compiled = folder / str(number)
                compiled.write_bytes(head + marshal.dumps(code))
                found[util.cache_from_source(name)] = compiled
    return found


def software(requirements: Sequence[str], target: Target) -> Bundle:
    """The archive of these requirements, which are resolved, for this target. ConfigError: uv's own last lines."""

    def make() -> Bundle:
        with tempfile.TemporaryDirectory() as folder:
            install(requirements, target, Path(folder))
            return pack(tree(Path(folder)))

    facts = "\n".join([target.python, target.architecture, *requirements])
    return kept("software", sha256(facts.encode()).hexdigest(), make)


def install(requirements: Sequence[str], target: Target, folder: Path, closed: bool = False) -> None:
    """Put these into a directory, as wheels for the target. `closed`: without what they need beside."""
    words = [uv(), "pip", "install", "--quiet", "--target", str(folder), "--only-binary", ":all:",
             "--python", sys.executable, "--python-version", target.python,
             "--python-platform", platform_of(target)]  # fmt: skip
    done = subprocess.run(
        [*words, *(["--no-deps"] if closed else []), "-r", "-"], input="\n".join(requirements), text=True,
        capture_output=True, check=False, env={**os.environ, **indexes.variables(Path.cwd())},
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(
            f"the environment cannot be put together for Python {target.python} on {target.architecture}:\n"
            f"{last_lines(done.stderr)}",
            hint="mend the requirements; nothing was started",
        )


def uv() -> str:
    """The path of uv. MissingExtra: it is not installed."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if found is None:
        raise MissingExtra("software for other machines is put together by uv, which is not installed",
                           hint="pip install uv")  # fmt: skip
    return found


def bringer(target: Target) -> Bundle | None:
    """The archive of uv, which brings Python where an image has none of the target's; None: it is not at hand."""
    try:
        found = uv()
    except MissingExtra:
        return None

    def make() -> Bundle:
        if target.architecture == own().architecture and sys.platform == "linux":
            return pack({"bin/uv": Path(found)})
        with tempfile.TemporaryDirectory() as folder:
            install(["uv"], target, Path(folder), closed=True)
            return pack({"bin/uv": Path(folder) / "bin" / "uv"})

    about = Path(found).stat()
    facts = f"{target.architecture} {found} {about.st_size} {about.st_mtime_ns}"
    return kept("uv", sha256(facts.encode()).hexdigest(), make)


def interpreter(target: Target) -> Bundle | None:
    """The archive of a Python of this target, for machines that may fetch nothing; None: uv could not get one here."""
    machine = {"arm64": "aarch64"}.get(target.architecture, target.architecture)
    asked = f"cpython-{target.python}-linux-{machine}-gnu"

    def make() -> Bundle:
        with tempfile.TemporaryDirectory() as folder:
            words = [uv(), "python", "install", "--quiet", "--no-bin", "--install-dir", folder, asked]
            subprocess.run(words, capture_output=True, check=True)
            [found] = [path for path in Path(folder).glob("cpython-*") if not path.is_symlink()]
            return pack(tree(found))

    try:
        return kept("pythons", sha256(asked.encode()).hexdigest(), make)
    except (MissingExtra, subprocess.CalledProcessError):
        return None


def platform_of(target: Target) -> str:
    """As uv calls it."""
    return {"arm64": "aarch64"}.get(target.architecture, target.architecture) + "-manylinux_2_28"


def last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def _installed(names: Sequence[str], wanted: Callable[[str], bool]) -> dict[str, Path]:
    from importlib.metadata import PackageNotFoundError, distribution

    found: dict[str, Path] = {}
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError as error:
            raise MissingExtra(f"{name} is needed there and not installed here", hint=f"pip install {name}") from error
        for file in files:
            path = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and wanted(str(file)) and path.is_file():
                found[str(file)] = path
    return found


def _wanted(name: str) -> bool:
    head, _, rest = name.partition("botocore/data/")
    if not head and rest:
        return rest.startswith(_SERVICES)
    return name.endswith("METADATA") or ".dist-info/" not in name


def _mark(target: Target, names: Sequence[str], without: Sequence[str] = _LEFT_OUT) -> str:
    """Of all that decides what is in the archive."""
    facts = ["compiled", target.python, target.architecture, *(f"{name}=={_version(name)}" for name in names)]
    facts += stamps(Path(elsewhere.__file__).parent, without)
    return sha256("\n".join(facts).encode()).hexdigest()


def _version(name: str) -> str:
    """As its directory tells it, where it has one of the usual name: metadata are slow to read."""
    head = re.sub(r"[-_.]+", "_", name).lower() + "-"
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError):
            for one in os.listdir(folder):  # noqa: PTH208
                if one.endswith(".dist-info") and one.lower().replace(".", "_").startswith(head):
                    return one[len(head) : -len(".dist-info")]
    from importlib.metadata import version

    return version(name)
