"""The text that a machine boots: first the dead man's switch, then the agent. Pure; it holds no secret.

It is read by a POSIX shell. What a user wrote comes into it through `shlex.quote` alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from elsewhere.ship import kept, startup
from elsewhere.ship.marks import HOLDS as HOLDS
from elsewhere.ship.marks import KEPT as KEPT
from elsewhere.ship.marks import LOG as LOG
from elsewhere.ship.marks import SWITCH as SWITCH


@dataclass(frozen=True, slots=True)
class Archive:
    """Something to be fetched, checked and unpacked before the agent is started."""

    key: str
    """Its name in the place's deposit."""
    digest: str
    """SHA-256 of its bytes, in hexadecimal digits: what does not match is not unpacked."""
    folder: str
    """Where it is unpacked, in the agent's directory."""
    shared: bool = False
    """It is only read there: a machine of several jobs unpacks it once, and a link leads to it."""
    laid: bool = False
    """It is not fetched: its place has laid it out in the machine's cache, of which each job gets a copy."""
    kept: str = ""
    """It is not fetched where the environment of this mark is kept, of which it is a part (ship/kept.py)."""


@dataclass(frozen=True, slots=True)
class Bare:
    """A machine that has nothing of ours: what its place says in shell, what is fetched, and which Python is wanted."""

    name: str
    """Shell text that sets ELSEWHERE_MACHINE."""
    fetch: str
    """Shell text that defines `fetch KEY FILE` and `send FILE KEY`."""
    python: str
    """A minor version: 3.12."""
    archives: tuple[Archive, ...]
    """The first holds our agent, and is all that its interpreter is told of."""
    uv: Archive | None = None
    """With `bin/uv` in it: fetched only where there is no such Python, which it then brings."""
    log: str = ""
    """Where `send` puts what the boot has said if it fails: a key in the deposit; the machine's name is added to it."""
    cache: str = ""
    """A directory that later jobs find there again, as a word for the shell; empty: there is none."""
    whole: Archive | None = None
    """In place of uv: such a Python itself, which is kept where environments are."""


@dataclass(frozen=True, slots=True)
class Startup:
    """The user's own script, which a bare machine runs in place of our agent (ship/startup.py).

    Our agent is fetched only if it fails, to say so. `variables` are exported to it.
    """

    script: Archive
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BootText:
    """What the text is made of. Lengths are of whole seconds."""

    address: str
    """Of the channel."""
    directory: str
    """Each machine works in a directory of its own below this one. On a bare machine, unless it is a whole path: this
    one itself, below its user's home."""
    python: str
    """An interpreter in which our package can be imported; on a bare machine: empty."""
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
    bare: Bare | None = None
    share: int = 1
    """So many agents share the machine that it is booted on."""
    final: bool = False
    """The term will not grow: what would not end within it is not begun."""
    builds: bool = False
    """Only on a bare machine: it is furnished as a job's would be, and that is all (agent/furnish.py)."""
    sits: bool = False
    """Only on a bare machine: a controller sits there (controller/sitter.py), asked at this address."""
    startup: Startup | None = None
    """Only on a bare machine."""
    now: str = "$(date +%s)"
    """Shell text for the seconds since the epoch, by the clock that `start_by` is of."""
    serves: int = 0
    """So many tasks in all, and it ends; 0: as many as there are."""
    path: tuple[str, ...] = ()
    """Not on a bare machine: where `python` finds all that an agent imports, so that it need not read what each package
    that is installed there wishes for its start; empty: it has to."""
    keep: timedelta = timedelta(0)
    """Only on a bare machine: how long it stays, within its term, if its boot fails or its agent says so; 0: not."""


def render(text: BootText) -> str:
    """The boot text. The same words give the same text.

    The switch counts seconds itself and reads no clock, so that a clock that is set ends nothing. It counts down from
    its file's last word; a file that is gone, or never came, moves it no further.
    """
    left = min(_seconds(text.boot + text.keep), _seconds(text.term))
    end = text.end or ":"
    last = end if text.bare is None else f"{'hold; ' if text.keep else ''}{_sent(text.bare)}; {end}"
    return f"""\
#!/bin/sh
{_switch(left, text.step, end, _here(text))}
[ "{text.now}" -le {int(text.start_by.timestamp())} ] || {{ echo 'too late: its work was given to others' >&2; \
{end}; kill -KILL $switch; exit 75; }}
trap : TERM INT HUP
umask 077
mkdir -p "$HERE" && cd "$HERE" || exit 73
{_kept_log(text)}{_hold(text)}{_work(text, f"{{ {last}; kill -KILL $switch; exit 74; }}")}{last}
kill -KILL $switch
exit $status
"""


def _work(text: BootText, stop: str) -> str:
    """Lines that do what the machine is for, and set `status`. `stop`: what is done if something cannot be fetched."""
    if text.bare is None:
        return _agent(text, shlex.quote(text.python))
    ready = [text.bare.name, text.bare.fetch, _TAKE]
    if text.bare.cache:
        ready.append(f"cache={text.bare.cache}\n{_SHARE}")
        if any(one.laid for one in text.bare.archives):
            ready.append(_COPY)
    if text.startup is None:
        return _joined([*ready, *_brought(text.directory, text.bare, text.bare.archives, stop)]) + _agent(
            text, '"$python"'
        )
    words = {"ADDRESS": shlex.quote(text.address), "BORN": '"$(date +%s)"'}
    words.update({name.strip("-").upper(): word for name, word in _words(text).items()})
    failed = [*_brought(text.directory, text.bare, text.bare.archives[:1], "exit 74"),
              f'"$python" -m elsewhere.agent {shlex.quote(text.address)} {_options(text)} '
              f'--failed "$status" --log {startup.LOG}']  # fmt: skip
    script = text.startup.script
    ready.append(f"take {_named(script)} || {stop}")
    return _joined(ready) + startup.lines(
        words, text.startup.variables, script.folder, "\n  ".join(failed), SWITCH
    )  # fmt: skip


def fetching(fetch: str, archives: Sequence[Archive], python: str, uv: Archive | None, stop: str) -> str:
    """Lines that fetch these archives, and set `python` to an interpreter for the first of them (of that minor
    version), or bring one. `fetch`, `uv`: as of Bare."""
    return _joined([fetch, _TAKE, *_brought("", Bare("", fetch, python, tuple(archives), uv), archives, stop)])


def taking(fetch: str, archives: Sequence[Archive], stop: str) -> str:
    """Lines that fetch these archives, and nothing else. `stop`: what is done if one cannot be had."""
    return _joined([fetch, _TAKE, *(f"take {_named(archive)} || {stop}" for archive in archives)])


def _agent(text: BootText, python: str) -> str:
    """It does not look at packages that are installed there where it is told where its own are."""
    if text.builds:
        return f'{python} -m elsewhere.agent.furnish "$HERE"\nstatus=$?\n'
    if text.sits:
        where = f'"$HERE" "$ELSEWHERE_MACHINE" {_seconds(text.term)}'
        return f"{python} -m elsewhere.controller.sitter {shlex.quote(text.address)} {where}\nstatus=$?\n"
    told = f"PYTHONPATH={shlex.quote(':'.join(text.path))} " if text.path else ""
    alone = " -S" if text.bare is not None or text.path else ""
    return f"{told}{python}{alone} -m elsewhere.agent {shlex.quote(text.address)} {_options(text)}\nstatus=$?\n"


def _words(text: BootText) -> dict[str, str]:
    """What an agent is told, as shell text."""
    return {
        "--directory": '"$HERE"',
        "--agent": '"$ELSEWHERE_MACHINE"',
        "--slots": str(text.slots),
        "--term": str(_seconds(text.term)),
        "--lease": str(_seconds(text.lease)),
        "--idle": str(_seconds(text.idle)),
        **({"--share": str(text.share)} if text.share > 1 else {}),
        **({"--final": "1"} if text.final else {}),
        **({"--serves": str(text.serves)} if text.serves else {}),
    }


def _options(text: BootText) -> str:
    return " ".join(f"{name} {value}" for name, value in _words(text).items())


def _sent(bare: Bare) -> str:
    """What the boot said, its last word too, goes to the deposit if it failed; a living agent sends it by itself."""
    last = (
        f"echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' {LOG} && break; sleep 1; done"
    )
    return f'[ "${{status:-74}}" = 0 ] || {{ {last}; send {LOG} {shlex.quote(bare.log)}"$ELSEWHERE_MACHINE"; }}'


def _kept_log(text: BootText) -> str:
    """One line. What copies outlives what ends the others, or their last words would end them."""
    if text.bare is None:
        return ""
    copy = f"(trap '' TERM INT HUP; exec <said; rm -f said; exec tee -a {LOG}) & exec >said 2>&1"
    return f"send() {{ :; }}; [ ! -e said ] || rm -f said; mkfifo -m 600 said && {{ {copy}; }}\n"


def _hold(text: BootText) -> str:
    """Where machines are kept on failure: what does so. The switch ends it, within its term; no other work is begun."""
    if text.bare is None or not text.keep:
        return ""
    keep, key = _seconds(text.keep), shlex.quote(text.bare.log)
    return f"""\
born=$(date +%s)
hold() {{
  term={_seconds(text.term)}
  [ "${{status:-74}}" != 0 ] || {{ [ -s {KEPT} ] && read -r term <{KEPT}; }} || return 0
  left=$((term - $(date +%s) + born)); [ $left -le {keep} ] || left={keep}; [ $left -gt 0 ] || return 0
  echo "{HOLDS} for $left s, since something failed here"
  for try in 1 2 3; do grep -qs '^{HOLDS}' {LOG} && break; sleep 1; done; send {LOG} {key}"$ELSEWHERE_MACHINE"
  echo "$left {KEPT}" >{SWITCH}; wait $switch
}}
"""


def _here(text: BootText) -> str:
    if text.bare is not None and not text.directory.startswith(
        "/"
    ):  # it has one agent, and its name is known only once its place was asked
        return f'HERE="${{HOME:-/root}}"/{shlex.quote(text.directory)}'
    return f': "${{ELSEWHERE_MACHINE:=$(hostname)}}"; HERE={shlex.quote(text.directory)}/$ELSEWHERE_MACHINE'


_TAKE = """\
take() {
  [ -e "$3/.whole" ] && return 0
  mkdir -p "$3" || return 1
  for try in 1 2 3 4 5; do
    fetch "$1" "$3.tar.gz" && [ "$(sha256sum <"$3.tar.gz")" = "$2  -" ] && break
    [ $try -lt 5 ] || { echo "elsewhere: $1 could not be fetched" >&2; return 1; }
    sleep $try
  done
  tar -xzf "$3.tar.gz" -C "$3" && rm -f "$3.tar.gz" && : >"$3/.whole" && echo "elsewhere: $3 is here"
}"""


# Whole under its digest or not there: who is second at the same moment drops its own. Its age is that of its last use.
_SHARE = """\
share() {
  kept=$cache/unpacked/$2; own=$kept.$$
  if [ ! -e "$kept" ]; then
    take "$1" "$2" "$own" >/dev/null && { [ -e "$kept" ] || mv "$own" "$kept"; }
    rm -rf "$own" "$own.tar.gz" "$kept/${own##*/}"
  fi
  [ -h "$3" ] && rm -f "$3"
  [ -e "$kept/.whole" ] && touch "$kept" && { [ -e "$3" ] || ln -s "$kept" "$3"; } && echo "elsewhere: $3 is here"
}"""


# A copy, since a task may write where it can. All of it is read anyway, so it is seen whether it is what it was.
_COPY = """\
copy() {
  [ -e "$3/.whole" ] && return 0
  kept=$cache/unpacked/$2 own=$3.$$
  mkdir -p "${3%/*}" && cp -Rp "$kept" "$own" &&
    (cd "$own" && { [ ! -s .sums ] || sha256sum -c .sums >/dev/null 2>&1; }) || {
    rm -rf "$own" "$kept/.whole"; echo "elsewhere: $3 was not whole on this machine, and is brought again" >&2
    return 1
  }
  touch "$kept" && mv "$own" "$3" && echo "elsewhere: $3 is here"
}"""


def _brought(directory: str, bare: Bare, archives: Sequence[Archive], stop: str) -> list[str]:
    """Lines that fetch these archives, and find an interpreter for the first of them, or bring one."""
    kept_at = kept.beside(directory)
    has = [f"[ -e {shlex.quote(f'{kept_at}/{one.kept}/{kept.WHOLE}')} ] || " if one.kept else "" for one in archives]
    verbs = ["copy" if one.laid else "share" if one.shared and bare.cache else "take" for one in archives]
    takes = [f"{there}{verb} {_named(one)} || {stop}" for there, verb, one in zip(has, verbs, archives, strict=True)]
    major, minor = bare.python.split(".")
    asks = f"import sys; sys.exit(sys.version_info[:2] != ({int(major)}, {int(minor)}))"
    find = (
        f'for python in python{bare.python} python3 python ""; do [ -n "$python" ] || break; '
        f'"$python" -ISc {shlex.quote(asks)} 2>/dev/null && break; done'
    )
    lines = [*takes, find]
    if bare.uv is not None:
        bring = f'uv="$HERE/{bare.uv.folder}/bin/uv"; "$uv" python install --quiet {bare.python} && '
        bring += f'python=$("$uv" python find {bare.python})'
        lines.append(f'[ -n "$python" ] || {{ take {_named(bare.uv)} && {bring}; }} || {stop}')
    if bare.whole is not None:
        there = Archive(bare.whole.key, bare.whole.digest, f"{kept_at}/{bare.whole.folder}-{bare.whole.digest[:16]}")
        # its true path: environments that are made by it outlive this directory
        found = f"python=$(cd {shlex.quote(there.folder)} && pwd -P)/bin/python{bare.python}"
        bring = f"touch {shlex.quote(there.folder)} && {found}"
        lines.append(f'[ -n "$python" ] || {{ take {_named(there)} && {bring}; }} || {stop}')
    lines.append(
        f"[ -n \"$python\" ] || {{ echo 'elsewhere: there is no Python {bare.python} here' >&2; false; }} || {stop}"
    )
    lines.append('echo "elsewhere: the agent begins, with $python"')
    lines.append(f'export PYTHONPATH="$HERE"/{shlex.quote(archives[0].folder)}')
    return lines


def _joined(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _named(archive: Archive) -> str:
    return " ".join(shlex.quote(word) for word in (archive.key, archive.digest, archive.folder))


def _switch(left: int, step: int, end: str, here: str) -> str:
    """One line. It outlives what it ends: signals to its group pass it by until the last, which none survives."""
    return (
        f"{here}; (trap '' TERM INT HUP; left={left} last=; "
        f'while [ "$left" -gt 0 ]; do sleep {step}; left=$((left - {step})); '
        f'if read -r word serial <"$HERE/{SWITCH}" && [ "$serial" != "$last" ]; then left=$word last=$serial; fi; '
        f"done 2>/dev/null; echo 'the dead man switch ends this machine' >&2; "
        f"kill -TERM 0; sleep 10; {end}; kill -KILL 0) & switch=$!"
    )


def _seconds(length: timedelta) -> int:
    return max(1, int(length.total_seconds()))
