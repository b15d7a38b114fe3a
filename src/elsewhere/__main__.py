"""The `elsewhere` command: the door, and nothing behind it.

Answers --version and the top-level help without loading anything; all else goes to cli/dispatch.
"""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's own). Returns the exit status; never raises."""
    words = sys.argv[1:] if argv is None else argv
    if sys.platform == "win32":
        sys.stderr.write("elsewhere: it runs on Linux and macOS; on Windows, use it inside WSL2.\n")
        return 2
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may be any bytes: show them rather than fall over
            stream.reconfigure(errors="backslashreplace")
    if words[:1] in (["--version"], ["-V"]):
        from elsewhere import __version__

        sys.stdout.write(f"elsewhere {__version__}\n")
        return 0
    from elsewhere.cli.dispatch import dispatch

    return dispatch(words)


if __name__ == "__main__":
    sys.exit(main())
