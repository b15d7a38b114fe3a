"""The text that boots a Dask worker, and the certificates of its cluster."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from elsewhere.ship import certificates
from elsewhere.ship.dask_worker import LEASH, Workers, render

LATER = datetime.now(UTC) + timedelta(hours=1)


def workers(folder: Path, **fields: object) -> Workers:
    (folder / "workers").mkdir()
    plain = Workers(
        "mine", "gcam", "tls://127.0.0.1:1", certificates.papers(folder), folder, sys.executable, 8, 2, 10**9,
        str(folder), network=("--host", "127.0.0.1"),
    )  # fmt: skip
    return replace(plain, **fields)  # type: ignore[arg-type]


def words_of(text: str) -> list[str]:
    return shlex.split(text.splitlines()[-1])


def test_a_worker_has_its_tag_as_a_resource_its_name_and_the_certificates(tmp_path: Path) -> None:
    words = words_of(render(workers(tmp_path), 3, LATER))
    assert words[:5] == ["exec", sys.executable, "-m", "distributed.cli.dask_worker", "tls://127.0.0.1:1"]
    given = dict(pairwise(words))
    assert given["--name"] == "gcam/3"
    assert given["--resources"] == "gcam=2"
    assert given["--nthreads"] == "2"
    assert given["--memory-limit"] == "1000000000"
    assert given["--tls-key"] == str(tmp_path / "cluster.key")
    assert given["--preload"] == str(LEASH)
    assert given["--host"] == "127.0.0.1"
    assert {"--no-nanny", "--no-dashboard", "--death-timeout"} <= set(words)


def test_its_variables_reach_it_and_what_shells_mean_by_characters_does_not_matter(tmp_path: Path) -> None:
    shown = tmp_path / "show me.sh"
    shown.write_text('#!/bin/sh\necho "$A|$OMP_NUM_THREADS|$PYTHONPATH|$PWD"\n')
    shown.chmod(0o755)
    made = workers(tmp_path, python=str(shown), env={"A": "it's; $(id)"}, path=("/a b", "/c"))
    subprocess.run(["sh", "-c", render(made, 1, LATER)], check=True)
    assert made.log(1).read_text() == f"it's; $(id)|4|/a b:/c|{tmp_path}\n"


def test_one_that_starts_too_late_ends_at_once(tmp_path: Path) -> None:
    made = workers(tmp_path, python="/bin/false")
    subprocess.run(["sh", "-c", render(made, 1, datetime.now(UTC) - timedelta(seconds=5))], check=True)
    assert made.log(1).read_text() == "it came too late to be of use\n"


def test_certificates_are_their_owners_alone(tmp_path: Path) -> None:
    certificates.make(tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.pem": 0o600, "cluster.pem": 0o600, "cluster.key": 0o600,
    }  # fmt: skip


def test_who_shows_the_certificate_of_another_cluster_is_not_let_in(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, theirs = certificates.make(tmp_path / "ours"), certificates.make(tmp_path / "theirs")
    assert meet(ours, ours) == "hello"
    with pytest.raises(ssl.SSLError):
        meet(ours, theirs)


def meet(server: certificates.Papers, client: certificates.Papers) -> str:
    """What the server says to a client that it lets in."""
    one, other = socket.socketpair()
    behind = context(ssl.PROTOCOL_TLS_SERVER, server)

    def serve() -> None:
        try:
            with behind.wrap_socket(one, server_side=True) as line:
                line.sendall(b"hello")
        except OSError:
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with other, context(ssl.PROTOCOL_TLS_CLIENT, client).wrap_socket(other) as line:
            return line.recv(100).decode()
    finally:
        thread.join()


def context(kind: int, papers: certificates.Papers) -> ssl.SSLContext:
    made = ssl.SSLContext(kind)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(papers.authority)
    made.load_cert_chain(papers.certificate, papers.key)
    return made
