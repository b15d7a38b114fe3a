"""What a host must do: one test for each answer of its verbs' docstrings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from elsewhere.errors import NotFound, PlaceError, Unreachable
from elsewhere.hosts import Host

AWKWARD = ["two words", "'", '"', "$(touch /tmp/elsewhere-was-here)", "`id`", "-n", "*", "a\nb", "\\", "ä€", ""]


class HostConformance:
    """Subclass it and give a fixture `host`, and a fixture `folder`: an empty directory there, as a string."""

    def test_a_command_gets_its_words_as_they_are(self, host: Host, folder: str) -> None:
        ran = host.run(["sh", "-c", 'for word; do printf "%s|" "$word"; done', "sh", *AWKWARD])
        assert ran.out.decode() == "".join(word + "|" for word in AWKWARD)
        assert ran.ok

    def test_input_and_output_are_bytes(self, host: Host, folder: str) -> None:
        data = bytes(range(256)) * 4000
        assert host.run(["cat"], data).out == data

    def test_a_status_is_an_answer(self, host: Host, folder: str) -> None:
        ran = host.run(["sh", "-c", "echo no >&2; exit 3"])
        assert (ran.status, ran.out, ran.err) == (3, b"", b"no\n")

    def test_a_command_may_be_given_variables(self, host: Host, folder: str) -> None:
        assert host.run(["sh", "-c", 'printf %s "$ONE"'], env={"ONE": "a b"}).out == b"a b"

    def test_no_such_program(self, host: Host, folder: str) -> None:
        try:
            ran = host.run(["no-such-program-of-elsewhere"])
        except NotFound:
            return
        assert ran.status == 127

    def test_a_command_that_takes_too_long_is_ended_with_its_children(self, host: Host, folder: str) -> None:
        mark = f"{folder}/alive"
        with pytest.raises(Unreachable):
            host.run(["sh", "-c", f"(sleep 2; touch '{mark}') & wait"], timeout=timedelta(seconds=0.3))
        host.run(["sleep", "2.2"])
        with pytest.raises(NotFound):
            host.get(mark)

    def test_what_was_put_is_got(self, host: Host, folder: str) -> None:
        data = bytes(range(256)) * 1000
        path = f"{folder}/new/deep/a 'file'"
        for _ in range(2):
            host.put(path, data)
            assert host.get(path) == data

    def test_put_replaces(self, host: Host, folder: str) -> None:
        host.put(f"{folder}/f", b"a long first")
        host.put(f"{folder}/f", b"second")
        assert host.get(f"{folder}/f") == b"second"
        assert host.run(["ls", "-A", folder]).out == b"f\n"

    def test_what_is_put_is_its_owners(self, host: Host, folder: str) -> None:
        host.put(f"{folder}/d/f", b"x")
        host.put(f"{folder}/d/p", b"x", mode=0o700)
        modes = host.run(["sh", "-c", 'ls -ld "$1/d" "$1/d/f" "$1/d/p" | cut -c1-10', "sh", folder]).out.split()
        assert modes == [b"drwx------", b"-rw-------", b"-rwx------"]

    def test_what_is_not_there_is_not_found(self, host: Host, folder: str) -> None:
        with pytest.raises(NotFound):
            host.get(f"{folder}/nothing")

    def test_what_cannot_be_written_is_an_answer_of_the_place(self, host: Host, folder: str) -> None:
        host.put(f"{folder}/file", b"x")
        with pytest.raises(PlaceError):
            host.put(f"{folder}/file/below", b"x")
