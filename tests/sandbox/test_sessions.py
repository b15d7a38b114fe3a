"""Sessions by SSM, as a user's `aws ssm start-session` opens them: here by the sandbox's own programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from elsewhere.backends.aws import shell
from elsewhere.backends.aws.ec2 import Aws
from elsewhere.backends.aws.settings import AwsSettings
from elsewhere.backends.gathers import Gathers, Way
from elsewhere.errors import AccessDenied, Unreachable, UsageError
from elsewhere.sandbox import standins
from sandbox.cloud import PATIENCE, Sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROLE = {"Name": "elsewhere"}


class Echo:
    """On loopback here, where machines of a sandbox without walls listen too: it says what it hears, once."""

    def __init__(self) -> None:
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.door.accept()
                threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.sendall(b"heard " + line.recv(100))


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.door.close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sandbox's own, also where AWS's command line is installed."""
    made = tmp_path_factory.mktemp("programs")
    standins.lay(made, command_line=True)
    return made


@pytest.fixture
def place(shared: Sandbox, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    for name, value in shared.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Aws(AwsSettings(region="us-east-1"))


@pytest.fixture(scope="module")
def machine(shared: Sandbox) -> Iterator[str]:
    [id] = shared.run("", IamInstanceProfile=ROLE)
    until(lambda: shared.state(id) == "running")
    yield id
    shared.client("ec2").terminate_instances(InstanceIds=[id])


def said(way: Way, words: bytes) -> bytes:
    """What comes of one connection, to its end."""
    with socket.create_connection(("127.0.0.1", way.port), PATIENCE) as line:
        line.sendall(words)
        answer = b""
        while more := line.recv(100):
            answer += more
        return answer


def open_sessions(cloud: Sandbox) -> int:
    return len(cloud.cloud.sessions._open)


def test_a_port_here_leads_to_a_port_there_for_many_at_a_time(
    shared: Sandbox, place: Aws, machine: str, echo: Echo
) -> None:
    assert isinstance(place, Gathers)
    way = place.forward(machine, echo.port)
    try:
        with socket.create_connection(("127.0.0.1", way.port), PATIENCE) as first:
            assert said(way, b"two") == b"heard two"
            first.sendall(b"one")
            assert first.recv(100) == b"heard one"
    finally:
        way.close()
    way.close()
    until(lambda: open_sessions(shared) == 0)
    with pytest.raises(OSError):
        said(way, b"three")


def test_a_session_that_ends_is_begun_anew_at_the_same_port(
    shared: Sandbox, place: Aws, machine: str, echo: Echo
) -> None:
    way = place.forward(machine, echo.port)
    try:
        before = way.port
        [session] = list(shared.cloud.sessions._open.values())
        shared.client("ssm").terminate_session(SessionId=session.id)
        until(lambda: open_sessions(shared) == 1 and session.id not in shared.cloud.sessions._open)

        def again() -> bool:
            with contextlib.suppress(OSError):
                return said(way, b"again") == b"heard again"
            return False

        until(again)
        assert way.port == before
    finally:
        way.close()


def test_it_ends_with_whoever_had_it_however_they_end(shared: Sandbox, place: Aws, machine: str, echo: Echo) -> None:
    code = (
        "import sys, time\n"
        "from elsewhere.backends.aws.ec2 import Aws\n"
        "from elsewhere.backends.aws.settings import AwsSettings\n"
        "print(Aws(AwsSettings(region='us-east-1')).forward(sys.argv[1], int(sys.argv[2])).port, flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, machine, str(echo.port)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as lines:
        assert int(lines.readline())
        assert open_sessions(shared) == 1
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        until(lambda: open_sessions(shared) == 0)


def test_refusals_say_what_to_do(
    shared: Sandbox, place: Aws, machine: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is no machine's id"):
        place.forward("i-nobody", 1)
    with pytest.raises(Unreachable, match="is not connected") as caught:
        place.forward("i-00000000000000000", 1)
    assert "--policy machine" in caught.value.hint
    [bare] = shared.run("")
    until(lambda: shared.state(bare) == "running")
    with pytest.raises(Unreachable, match=f"{bare} is not connected"):
        place.forward(bare, 1)
    shared.order("deny", actions=["ssm:StartSession"])
    try:
        with pytest.raises(AccessDenied, match="ssm:StartSession") as denied:
            place.forward(machine, 1)
        assert shell.FORWARDS in denied.value.hint
    finally:
        shared.order("allow", actions=["ssm:StartSession"])
    assert open_sessions(shared) == 0
    for lacks in ("aws", "session-manager-plugin"):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match=f"needs the program {lacks}, which is not installed"):
            place.forwards()
        shutil.copy(programs / lacks, tmp_path)
    place.forwards()


@pytest.mark.parametrize(
    ("document", "parameters", "code"),
    [
        ("AWS-StartPortForwarding", {}, "InvalidDocument"),
        (shell.FORWARDS, {"port": ["1"]}, "InvalidParameters"),
        (shell.FORWARDS, {"portNumber": ["0"]}, "InvalidParameters"),
        (shell.FORWARDS, {"portNumber": ["1", "2"]}, "InvalidParameters"),
        (shell.FORWARDS, {"portNumber": ["1"], "localPortNumber": ["65536"]}, "InvalidParameters"),
    ],
)
def test_a_document_takes_its_own_parameters(
    shared: Sandbox, machine: str, document: str, parameters: dict[str, list[str]], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        shared.client("ssm").start_session(Target=machine, DocumentName=document, Parameters=parameters)
    assert caught.value.response["Error"]["Code"] == code
    assert open_sessions(shared) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--targe", "i-0123456789abcdef0"], "Unknown options: --targe"),
        (["--region", "us-east-1"], "--target"),
        (["--target", "i-0123456789abcdef0", "--parameters", "portNumber"], "Expected: '='"),
    ],
)
def test_words_that_aws_does_not_take_are_refused(programs: Path, words: list[str], why: str) -> None:
    words = [str(programs / "aws"), "ssm", "start-session", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, why in done.stderr) == (252, True), done.stderr
