"""`python -m elsewhere.compat.cloud_tasks run --config myconfig.yml ...`, and the bare command `cloud_tasks`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from elsewhere.compat import entry


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 some tasks failed, else as `entry.run`."""
    from elsewhere.compat.cloud_tasks import command

    return entry.run(command.main, words)


if __name__ == "__main__":
    sys.exit(main())
