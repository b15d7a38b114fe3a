"""The text that a machine boots: first the dead man's switch, then the agent. Pure; it holds no secret.

It is read by a POSIX shell. What a user wrote comes into it through `shlex.quote` alone.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

SWITCH = "switch"
"""The deadline file, in the agent's directory: `<seconds left> <serial>`, replaced as a whole by a living agent."""


@dataclass(frozen=True, slots=True)
class BootText:
    """What the text is made of. Lengths are of whole seconds."""

    address: str
    """Of the channel."""
    directory: str
    """Each machine works in a directory of its own below this one."""
    python: str
    """An interpreter in which our package can be imported."""
    term: timedelta
    start_by: datetime
    slots: int = 1
    lease: timedelta = timedelta(minutes=2)
    idle: timedelta = timedelta(seconds=60)
    boot: timedelta = timedelta(minutes=20)
    """The switch stands first at the lesser of this and the term."""
    step: int = 5
    """Seconds between two looks of the switch at its file."""
    end: str = ""
    """Shell text that ends the machine itself (`shutdown -h now`); empty: ending all processes is enough."""


def render(text: BootText) -> str:
    """The boot text. The same words give the same text.

    The switch counts seconds itself and reads no clock, so that a clock that is set ends nothing. It counts down from
    its file's last word; a file that is gone, or never came, moves it no further.
    """
    left = min(_seconds(text.boot), _seconds(text.term))
    end = text.end or ":"
    words = {
        "--directory": '"$HERE"',
        "--agent": '"$ELSEWHERE_MACHINE"',
        "--slots": str(text.slots),
        "--term": str(_seconds(text.term)),
        "--lease": str(_seconds(text.lease)),
        "--idle": str(_seconds(text.idle)),
    }
    options = " ".join(f"{name} {value}" for name, value in words.items())
    return f"""\
#!/bin/sh
{_switch(left, text.step, end, shlex.quote(text.directory))}
[ "$(date +%s)" -le {int(text.start_by.timestamp())} ] || {{ echo 'too late: its work was given to others' >&2; \
{end}; kill -KILL $switch; exit 75; }}
trap : TERM INT HUP
umask 077
mkdir -p "$HERE" && cd "$HERE" || exit 73
{shlex.quote(text.python)} -m elsewhere.agent {shlex.quote(text.address)} {options}
status=$?
{end}
kill -KILL $switch
exit $status
"""


def _switch(left: int, step: int, end: str, directory: str) -> str:
    """One line. It outlives what it ends: signals to its group pass it by until the last, which none survives."""
    return (
        f': "${{ELSEWHERE_MACHINE:=$(hostname)}}"; HERE={directory}/$ELSEWHERE_MACHINE; '
        f"(trap '' TERM INT HUP; left={left} last=; "
        f'while [ "$left" -gt 0 ]; do sleep {step}; left=$((left - {step})); '
        f'if read -r word serial <"$HERE/{SWITCH}" && [ "$serial" != "$last" ]; then left=$word last=$serial; fi; '
        f"done 2>/dev/null; echo 'the dead man switch ends this machine' >&2; "
        f"kill -TERM 0; sleep 10; {end}; kill -KILL 0) & switch=$!"
    )


def _seconds(length: timedelta) -> int:
    return max(1, int(length.total_seconds()))
