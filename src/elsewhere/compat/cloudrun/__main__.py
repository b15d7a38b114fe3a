"""`python -m elsewhere.compat.cloudrun demo`, and the bare command `cloudrun`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 some jobs failed, 2 bad input, 3 refused by the place, 130 interrupted."""
    from elsewhere.compat.cloudrun import command
    from elsewhere.errors import ElsewhereError, InternalError

    try:
        return command.main(sys.argv[1:] if words is None else words)
    except InternalError:
        raise
    except ElsewhereError as error:
        from elsewhere.api.worker_run import complain

        complain(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
