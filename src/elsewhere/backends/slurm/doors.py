"""How people come in where Slurm is: the words that run a command by hand there, and a connection that asks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from elsewhere.backends.slurm import newcomer, text
from elsewhere.backends.slurm.settings import SlurmSettings
from elsewhere.errors import AccessDenied, NotFound, PlaceError
from elsewhere.hosts import Host, Ran
from elsewhere.hosts.openssh import OpenSsh
from elsewhere.model.resources import Resources

LIMIT = timedelta(seconds=60)
_USABLE = '[ -d "$1" ] || exit 1; [ -w "$1" ] || exit 2'


def greet(host: Host) -> None:
    """A connection that wants a word from a person gets it."""
    if isinstance(host, OpenSsh):
        try:
            host.run(["true"], timeout=LIMIT)
        except PlaceError as error:
            if host.may_ask(error):
                host.ask()


def check_base(host: str, base: str, run: Callable[..., Ran]) -> None:
    """NotFound, AccessDenied: that directory is not there, or may not be used. `run`: as the place runs commands."""
    where = "" if host == "here" else f" on {host}"
    found = run(["sh", "-c", _USABLE, "sh", base]).status
    if found == 1:
        raise NotFound(f"there is no directory {base}{where}, which is the place's work-dir",
                       hint=f"make it where all nodes see it: mkdir -p {base}")  # fmt: skip
    if found:
        raise AccessDenied(f"the work-dir {base}{where} may not be written to")


def carried(host: Host, words: Sequence[str], terminal: bool) -> Sequence[str]:
    """These words as they are run from here."""
    return host.carried(words, terminal) if isinstance(host, OpenSsh) else words


def entering(settings: SlurmSettings, words: Sequence[str], terminal: bool, shape: Resources) -> Sequence[str]:
    """These words in a job of their own, of this size."""
    return ["srun", *["--pty"] * terminal, "--quiet", "--job-name=elsewhere-shell",
            f"--time={text.minutes(settings.length)}", *newcomer.asked(settings, shape), *words]  # fmt: skip
