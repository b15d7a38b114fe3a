"""What the doors' own commands have in common: their words, and the exit status that an error is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


def run(command: Callable[[Sequence[str]], int], words: Sequence[str] | None) -> int:
    """The exit status: the command's own, 2 bad input, 3 refused by the place, 130 interrupted, 141 nobody reads."""
    from elsewhere.errors import ElsewhereError, InternalError

    try:
        return command(sys.argv[1:] if words is None else words)
    except InternalError:
        raise
    except ElsewhereError as error:
        from elsewhere.api.worker_run import complain

        complain(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
