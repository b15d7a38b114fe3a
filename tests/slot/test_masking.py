"""Secrets are struck out of what is shown, and nothing moves for it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from elsewhere.slot import masking, wire


def test_a_secret_and_each_line_of_it_become_stars() -> None:
    hidden = masking.words(["hunter2-hunter2", "first line\nsecond line\n", "abc"])
    assert masking.masked(b"<hunter2-hunter2> first line abc", hidden) == b"<***************> ********** abc"


@given(st.binary(max_size=60), st.lists(st.text("ab", min_size=4, max_size=7), max_size=3), st.data())
def test_cut_anywhere_it_comes_out_as_if_it_were_whole(noise: bytes, secrets: list[str], data: st.DataObject) -> None:
    hidden = masking.words(secrets)
    text = noise + b"".join(one.encode() + noise[:3] for one in secrets)
    cut = data.draw(st.integers(0, len(text)))
    keep = cut - masking.begun(text[:cut], hidden)
    parts = masking.masked(text[:keep], hidden) + masking.masked(text[keep:], hidden)
    assert len(parts) == len(text)
    for word in hidden:
        at = text.find(word)
        if at >= 0 and not at < keep < at + len(word):
            assert word not in parts


def test_a_failure_that_told_a_secret_does_not_and_its_exception_does_not_travel() -> None:
    hidden = masking.words(["hunter2-ü"])
    value = wire.failure("ValueError", "no hunter2-ü", "line\nno hunter2-ü", stderr="fine", pickle="AAAA")
    told = json.loads(masking.failure(value, hidden))
    stars = "no " + "*" * 10
    assert told == {"type": "ValueError", "message": stars, "traceback": f"line\n{stars}", "stderr": "fine"}
    fine = wire.failure("ValueError", "nothing", pickle="AAAA")
    assert masking.failure(fine, hidden) == fine
