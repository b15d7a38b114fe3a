"""`python -m elsewhere.compat.cloudrun demo`, and the bare command `cloudrun`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from elsewhere.compat import entry


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 some jobs failed, else as `entry.run`."""
    from elsewhere.compat.cloudrun import command

    return entry.run(command.main, words)


if __name__ == "__main__":
    sys.exit(main())
