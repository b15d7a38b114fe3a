"""Signatures and seals: what was not sealed by us is never believed."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.errors import PayloadError, StateError, UsageError
from elsewhere.ship import seal


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


def test_what_was_signed_verifies_and_what_was_changed_does_not() -> None:
    mark = seal.sign([b"bundle", b"entry"])
    assert seal.verify([b"bundle", b"entry"], mark)
    assert not seal.verify([b"bundle", b"other"], mark)
    assert not seal.verify([b"bundlee", b"ntry"], mark), "the boundaries between digests are signed too"
    assert not seal.verify([b"bundle", b"entry"], mark[:-1] + bytes([mark[-1] ^ 1]))
    assert not seal.verify([b"bundle", b"entry"], b"")


def test_the_private_key_is_made_at_first_use_and_is_ours_alone(_home: Path) -> None:
    first = seal.public()
    assert stat.S_IMODE((_home / "key").stat().st_mode) == 0o600
    assert seal.public() == first
    assert (_home / "key.pub").read_text().strip()
    assert sorted(path.name for path in _home.iterdir()) == ["key", "key.pub"], "no partial file stays behind"


def test_a_key_that_others_may_read_is_refused(_home: Path) -> None:
    seal.public()
    (_home / "key").chmod(0o644)
    with pytest.raises(StateError, match="may be read by others"):
        seal.sign([b"x"])


def test_a_damaged_key_is_said_to_be_damaged(_home: Path) -> None:
    seal.public()
    (_home / "key").write_text("rubbish")
    with pytest.raises(StateError, match="damaged"):
        seal.sign([b"x"])


def test_after_rotation_old_signatures_are_still_read_and_new_ones_use_the_new_key() -> None:
    old = seal.sign([b"job"])
    before = seal.public()
    assert seal.rotate() == seal.public() != before
    assert seal.verify([b"job"], old)
    assert seal.sign([b"job"])[:32] != before


def test_an_exported_key_signs_the_same_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, here = seal.export(), seal.public()
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "other"))
    assert seal.public() != here
    seal.import_(text)
    assert seal.public() == here


def test_what_is_no_key_is_not_imported() -> None:
    here = seal.public()
    with pytest.raises(UsageError, match="not an Ed25519 private key"):
        seal.import_("hello")
    assert seal.public() == here


def test_a_stranger_s_signature_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "stranger"))
    mark = seal.sign([b"job"])
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    assert not seal.verify([b"job"], mark)


def _first(_: int) -> bytes:
    return seal.public()


def test_of_two_processes_that_make_the_key_at_once_both_get_the_same() -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_first, range(8), chunksize=1))) == 1


def test_a_sealed_payload_opens_with_its_key_only() -> None:
    sealed = seal.seal(b"k" * 32, b"payload")
    assert seal.unseal(b"k" * 32, sealed) == b"payload"
    for wrong in (sealed[:-1], sealed[:10], b"", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(PayloadError):
            seal.unseal(b"k" * 32, wrong)
    with pytest.raises(PayloadError):
        seal.unseal(b"j" * 32, sealed)


def test_sealing_a_local_job_never_imports_cryptography() -> None:
    code = (
        "import sys; from elsewhere.ship import codec, seal; k = b'k' * 32;"
        "seal.unseal(k, seal.seal(k, b'x')); assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
