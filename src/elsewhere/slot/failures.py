"""How a failure is told: type, message, the user's own traceback, the end of stderr, the sealed exception.

Loaded at the first failure only.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from elsewhere.slot import values, wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTLIB = os.path.join(os.path.dirname(os.__file__), "importlib") + os.sep
_SYSTEM_PATH = [place for place in sys.path if place]


def _traceback() -> Any:
    """The standard library's, also when a file of that name lies beside the user's code."""
    if "traceback" not in sys.modules:
        held, sys.path = sys.path, _SYSTEM_PATH
        try:
            import traceback  # noqa: F401
        finally:
            sys.path = held
    return sys.modules["traceback"]


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame on that is neither ours nor of the machinery by which we import the user's module."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((_OURS, _IMPORTLIB, "<frozen importlib")):
        trace = trace.tb_next
    return trace


def text(error: BaseException) -> str:
    """The traceback as Python prints it, beginning in the user's code. At most 64 KiB, the end of it."""
    try:
        told = "".join(_traceback().format_exception(type(error), error, _without_ours(error.__traceback__)))
    except Exception as also:
        told = f"{name(error)} (its traceback cannot be shown: {also!r})\n"
    return told if len(told) <= 65536 else "...\n" + told[-65536:]


def name(error: BaseException) -> str:
    kind = type(error)
    where = "" if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "."
    return where + kind.__qualname__


def message(error: BaseException) -> str:
    try:
        return str(error)[:65536]
    except Exception as also:
        return f"(its message cannot be shown: {also!r})"


def of(error: BaseException, stderr: str, key: bytes, boot: bool = False) -> bytes:
    """The value of an attempt that raised. `boot`: nothing could be run, no exception travels."""
    sealed = ""
    if not boot:
        try:
            data = values.dump_error(error)
        except Exception:
            data = b""
        if 0 < len(data) <= wire.SMALL:
            from binascii import b2a_base64

            sealed = b2a_base64(values.seal(key, data), newline=False).decode()
    code = error.code if isinstance(error, SystemExit) else None
    status = code if isinstance(code, int) else 0 if code is None else 1
    return wire.failure(name(error), message(error), text(error), stderr=stderr, pickle=sealed,
                        exit_code=status if isinstance(error, SystemExit) else None)  # fmt: skip
