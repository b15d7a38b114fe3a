"""Hello and letter: only who made the keys can open it, and only for the job and the machine that it names."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from elsewhere.errors import Refused
from elsewhere.ship import letters, seal

CONTENTS = letters.Contents(b"k" * 32, {"TOKEN": "planted-secret"})


def test_the_letter_to_a_hello_is_opened_by_the_machine_that_said_it() -> None:
    keys = letters.Keys()
    letter = letters.unpack_letter(letters.pack(letters.answer("job-1", keys.hello("i-1"), CONTENTS)))
    assert keys.open("job-1", letter) == CONTENTS


def test_nobody_else_opens_it_and_nothing_of_it_can_be_read() -> None:
    keys = letters.Keys()
    letter = letters.answer("job-1", keys.hello("i-1"), CONTENTS)
    assert b"planted-secret" not in letters.pack(letter)
    for job, opener, opened in (
        ("job-1", letters.Keys(), letter),
        ("job-2", keys, letter),
        ("job-1", keys, msgspec.structs.replace(letter, agent="i-2")),
        ("job-1", keys, msgspec.structs.replace(letter, signing=b"x" * 32)),
        ("job-1", keys, msgspec.structs.replace(letter, box=letter.box[:-1])),
    ):
        with pytest.raises(Refused):
            opener.open(job, opened)


def test_the_claim_changes_with_all_that_it_is_over() -> None:
    hello = letters.Keys().hello("i-1")
    claims = {
        letters.claim("job-1", hello),
        letters.claim("job-2", hello),
        letters.claim("job-1", msgspec.structs.replace(hello, agent="i-2")),
        letters.claim("job-1", msgspec.structs.replace(hello, signing=b"s" * 32)),
        letters.claim("job-1", msgspec.structs.replace(hello, sealing=b"s" * 32)),
    }
    assert len(claims) == 5


def test_what_a_machine_signs_is_known_by_the_key_of_its_hello() -> None:
    keys = letters.Keys()
    mark = keys.sign(b"a report")
    assert seal.verify_by([keys.hello("i-1").signing], [sha256(b"a report").digest()], mark)
    assert not seal.verify_by([letters.Keys().hello("i-1").signing], [sha256(b"a report").digest()], mark)


@pytest.mark.parametrize("name", ["empty", "a map", "nonsense", "cut off"])
def test_bytes_that_are_neither_are_refused(name: str) -> None:
    whole = letters.pack(letters.Keys().hello("i"))
    data = {"empty": b"", "a map": b"\x81", "nonsense": b"nonsense", "cut off": whole[:-3]}[name]
    with pytest.raises(Refused):
        letters.unpack_hello(data)
    with pytest.raises(Refused):
        letters.unpack_letter(data)
