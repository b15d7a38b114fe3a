"""How a machine proves which one it is: a request that only it can sign, which the controller then makes for it.

The proof is over a claim (ship/letters.py): it cannot stand for other keys, nor for another job. It is of no use for
anything but asking who signed it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from elsewhere.errors import UsageError


def prove(scheme: str, words: Mapping[str, str], claim: bytes) -> bytes:
    """The proof of this machine by the scheme that its channel's address names. AccessDenied: it has no identity."""
    if scheme not in _SCHEMES:
        raise UsageError(f"{scheme!r} is no way to prove who one is", hint=f"there are: {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme](words, claim)


def _sts(words: Mapping[str, str], claim: bytes) -> bytes:
    from elsewhere import aws

    return aws.sign_identity(words["region"], claim)


def _directory(words: Mapping[str, str], claim: bytes) -> bytes:
    """No more than a name: that the hello lies in a directory of the user's alone is what is believed."""
    return os.environ.get("ELSEWHERE_MACHINE", "").encode()


_SCHEMES: Mapping[str, Callable[[Mapping[str, str], bytes], bytes]] = {"sts": _sts, "directory": _directory}
