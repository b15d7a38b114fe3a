"""From words to a command, and from whatever it raises to a sentence and an exit status.

0 all succeeded, 1 some failed, 2 bad input, 3 refused by a place, 70 our bug, 130 interrupted, 141 nobody reads us.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace

from elsewhere.cli.table import COMMANDS

OUR_BUG = 70
NOBODY_READS = 141
INTERRUPTED = 130


def dispatch(words: Sequence[str]) -> int:
    """Run one command line. Returns its exit status; never raises."""
    try:
        status = _choose(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return quiet()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return explain_away(error)


def quiet() -> int:
    """Whoever read us has gone (`| head`): say nothing more, not even while the interpreter ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(devnull, stream.fileno())
    return NOBODY_READS


def _choose(words: Sequence[str]) -> int:
    from elsewhere.cli.terminal import coloured, complain

    if not words or words[0] in ("--help", "-h", "help"):
        if len(words) > 1 and words[0] == "help" and words[1] in COMMANDS:
            return _run(words[1], ["--help"])
        from elsewhere.cli.front import front

        sys.stdout.write(front(coloured()))
        return 0
    if words[0] in ("--install-completion", "--show-completion", "--complete"):
        from elsewhere.cli import completion

        return completion.main(words)
    if words[0] in COMMANDS:
        return _run(words[0], words[1:])
    from elsewhere.cli.grammar import nearest

    kind = "option" if words[0].startswith("-") else "command"
    hint = "`elsewhere --help` lists the commands."
    if words[0] == "completion":
        hint = "`elsewhere --install-completion bash|zsh|fish` installs it; --show-completion prints it."
    complain(f"there is no {kind} {words[0]}" + nearest(words[0], tuple(COMMANDS)), hint=hint)
    return 2


def _run(name: str, words: Sequence[str]) -> int:
    from importlib import import_module

    from elsewhere.cli import grammar
    from elsewhere.cli.terminal import coloured

    module = import_module(COMMANDS[name][0])
    if name in ("compat", "places") and module.words_of_their_own(words):
        return int(module.run(list(words)))
    try:
        asked = grammar.read(module.COMMAND, words)
        return _main(name, module, asked)
    except grammar.HelpAsked:
        sys.stdout.write(grammar.page(module.COMMAND, coloured()))
        return 0
    except Exception as error:
        # A single command's own statuses are its own: what we have to say about it is 125 (as env and timeout do).
        if name == "run" and "--" in words and "--each-line" not in words and not isinstance(error, BrokenPipeError):
            return max(125, explain_away(error)) if not isinstance(error, SystemExit) else 125
        raise


def _main(name: str, module: ModuleType, asked: SimpleNamespace) -> int:
    """The command itself, here or where its job is."""
    from elsewhere.errors import JobAway

    try:
        return int(module.main(asked))
    except JobAway as found:
        from elsewhere.cli import away

        return away.forward(name, asked, found)


def explain_away(error: Exception) -> int:
    """Say what went wrong in plain words. Returns the exit status."""
    from elsewhere.cli.terminal import complain
    from elsewhere.errors import ElsewhereError, InternalError

    if isinstance(error, ElsewhereError) and not isinstance(error, InternalError):
        faults = tuple(fault for fault in getattr(error, "faults", ()) if fault not in error.message)
        complain(error.message or type(error).__name__, faults, error.hint)
        traceback = getattr(error, "traceback", "")
        if traceback:
            sys.stderr.write(traceback.rstrip() + "\n")
        return error.exit_status
    if isinstance(error, OSError) and error.filename and not _ours(error):
        complain(f"{error.filename}: {(error.strerror or str(error)).lower()}")
        return 2
    where = _write_down(error)
    complain(
        f"this is a mistake of Elsewhere's own: {type(error).__name__}: {str(error)[:300]}",
        hint=f"The whole story is in {where}; please send it with your report. Nothing recorded has been lost.",
    )
    return OUR_BUG


def _ours(error: OSError) -> bool:
    """True if the file is a piece of ours, so that its absence is no fault of the user's."""
    from elsewhere import __file__ as here

    return str(error.filename).startswith(os.path.dirname(here))  # noqa: PTH120 pathlib costs 7 ms here


def _write_down(error: Exception) -> str:
    """Append the traceback to the log of the state directory; elsewhere if that cannot be. Returns the file's name."""
    import tempfile
    import time
    import traceback
    from pathlib import Path

    text = f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} elsewhere {' '.join(sys.argv[1:3])}\n"
    text += "".join(traceback.format_exception(error))
    try:
        from elsewhere.config.home import home

        path = home() / "log"
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except Exception:
        handle, name = tempfile.mkstemp(prefix="elsewhere-", suffix=".log")
        path = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    return str(path)
