"""Secrets, struck out of what is shown: by stars, as many as there were bytes, so that places in output stay true."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST = 4
"""Shorter ones are not struck out: they stand in every other word."""


def words(secrets: Iterable[str]) -> list[bytes]:
    """What is to be struck out, the longest first: the secrets, and each line of one that has several."""
    found = set()
    for secret in secrets:
        found |= {secret, *(line.strip() for line in secret.splitlines())}
    raw = {one.encode("utf-8", "surrogateescape") for one in found}
    return sorted((one for one in raw if len(one) >= LEAST), key=len, reverse=True)


def masked(data: bytes, hidden: Sequence[bytes]) -> bytes:
    for word in hidden:
        if word in data:
            data = data.replace(word, b"*" * len(word))
    return data


def begun(data: bytes, hidden: Sequence[bytes]) -> int:
    """How many bytes at the end of `data` may be the beginning of one of these, those of a whole one left aside."""
    data, longest = masked(data, hidden), 0
    for word in hidden:
        for size in range(min(len(word) - 1, len(data)), longest, -1):
            if data.endswith(word[:size]):
                longest = size
                break
    return longest


def failure(value: bytes, hidden: Sequence[bytes]) -> bytes:
    """Why an attempt failed, as its record has it; where that told a secret, the exception does not travel itself."""
    from json import dumps, loads

    told = loads(value)
    texts = {key: told.get(key) or "" for key in ("message", "traceback", "stderr")}
    clean = {key: masked(text.encode("utf-8", "surrogatepass"), hidden).decode("utf-8", "surrogatepass")
             for key, text in texts.items()}  # fmt: skip
    if clean == texts:
        return value
    told.update({key: text for key, text in clean.items() if key in told})
    told.pop("pickle", None)
    return dumps(told).encode()
