"""How a machine on a host is asked to end, by the text that runs there, on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.backends.ssh import texts

TOLD = """\
trap 'echo TERM' TERM; echo begun
while :; do read -r line && [ "$line" = end ] && exit; done
"""


class Machine:
    """One whose process says how it was asked to end, and stays."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / ".elsewhere" / "machines" / "m"
        self.folder.mkdir(parents=True)
        self.process = subprocess.Popen(["sh", "-c", TOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)  # fmt: skip
        (self.folder / "pid").write_text(f"{self.process.pid}\n")
        assert self.says() == "begun"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        words = ["sh", "-c", texts.BASE + texts.STOP, "sh", ".elsewhere", "m"]
        subprocess.run(words, env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"}, check=True)

    def asked_before(self, seconds: int) -> None:
        cancelled = self.folder / "cancelled"
        cancelled.write_text(f"{int(cancelled.read_text()) - seconds}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def test_who_was_asked_to_end_has_a_while_for_it_and_is_killed_then(machine: Machine) -> None:
    for _ in range(2):
        machine.stop()
        assert machine.says() == "TERM"
    machine.asked_before(10)
    machine.stop()
    assert machine.process.wait(60) == -9


def test_a_clock_that_was_set_back_keeps_nobody_alive(machine: Machine) -> None:
    machine.stop()
    assert machine.says() == "TERM"
    machine.asked_before(-3600)
    machine.stop()
    assert machine.process.wait(60) == -9
