"""Tells, in the user's own interpreter and before anything runs, whether an entry can be found and how it is called.

{"target", "cwd", "path", "packages"} come as JSON on standard input; the answer goes down a pipe of its own, since the
user's module may print whatever it likes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from elsewhere.slot import entry

if TYPE_CHECKING:
    from typing import Any


def check(fd: int) -> None:
    """Answer {"parameters": ...}, or {"error", "message", "traceback"[, "names"]} with what the user's code raised.

    The parameters are null if they are those of a worker, or unknown.
    """
    answer = _answer(json.loads(sys.stdin.read()))
    with os.fdopen(fd, "w") as file:
        json.dump(answer, file)


def _answer(words: dict[str, Any]) -> dict[str, Any]:
    entry.lend(words["packages"])
    entry.prepare(words["path"], words["cwd"], words["target"])
    if words["cwd"]:
        os.chdir(words["cwd"])
    try:
        function = entry.find(words["target"], words["cwd"])
    except BaseException as error:
        from elsewhere.slot import failures

        told: dict[str, Any] = {"error": type(error).__name__, "message": str(error), "traceback": failures.text(error)}
        if isinstance(error, AttributeError):
            told["names"] = _names(words)
        return told
    return {"parameters": None if entry.is_seed(function) else parameters(function)}


def _names(words: dict[str, Any]) -> list[str]:
    """What can be called in the module that was asked for."""
    where = words["target"].rpartition(":")[0]
    file = os.path.join(words["cwd"], where)
    for name, module in list(sys.modules.items()):
        if name == where or getattr(module, "__file__", None) == file:
            return sorted(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
    return []


def parameters(function: Any) -> list[list[Any]] | None:
    """[[name, kind, has a default], ...]; None: it does not tell.

    Of the function as it is called: a decorator may fill some that stand in what it decorates.
    """
    import inspect

    try:
        found = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[p.name, p.kind.name, p.default is not p.empty] for p in found]
