"""Sessions on a machine by SSM: the user's own AWS command line and its plugin; no port is open there for it.

Pure but for a look at PATH.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from elsewhere.backends.aws.sightings import ID
from elsewhere.errors import UsageError

PLUGIN = "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
CLI = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
FORWARDS = "AWS-StartPortForwardingSession"


def require(what: str = "a terminal on machines of AWS") -> None:
    """UsageError: a program that sessions need is missing."""
    for program, page in (("aws", CLI), ("session-manager-plugin", PLUGIN)):
        if shutil.which(program) is None:
            raise UsageError(f"{what} needs the program {program}, which is not installed",
                             hint=f"How to install it: {page}")  # fmt: skip


def words(native: str, region: str, profile: str) -> Sequence[str]:
    """Of a terminal. UsageError: a program is missing, or that is no machine's id."""
    if not ID.fullmatch(native):
        raise UsageError(f"{native!r} is no machine's id", hint="It looks like i-0123456789abcdef0.")
    require()
    found = ["aws", "ssm", "start-session", "--target", native, "--region", region]
    return [*found, "--profile", profile] if profile else found


def forwarding(native: str, port: int, here: int, region: str, profile: str) -> Sequence[str]:
    """Of a port here that leads to that one there; `here` is 0: one that is free. UsageError as `words`.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-sessions-start.html
    """
    found = words(native, region, profile)
    return [*found, "--document-name", FORWARDS, "--parameters", f"portNumber={port},localPortNumber={here}"]
