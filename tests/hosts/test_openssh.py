"""Another machine, as a host: a real sshd."""

from __future__ import annotations

import getpass
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from elsewhere.errors import AccessDenied, NotFound, Unreachable, UsageError
from elsewhere.hosts.openssh import OpenSsh
from elsewhere.testing.conformance import HostConformance
from hosts import sshd

AWKWARD = [
    "",
    " ",
    "a b",
    "it's",
    '"',
    "$(id)",
    "`id`",
    "-n",
    "--",
    "*",
    "a\nb",
    "\\",
    "\\n",
    "%s",
    "%%",
    "!!",
    "ü€",
    "~",
]


pytestmark = pytest.mark.needs("sshd", "ssh")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Hosts]:
    with sshd.running(tmp_path_factory.mktemp("sshd"), "node1") as found:
        yield found


@pytest.fixture
def host(hosts: sshd.Hosts) -> Iterator[OpenSsh]:
    found = OpenSsh("node1", str(hosts.config))
    yield found
    found.close()


class TestOpenSsh(HostConformance):
    @pytest.fixture
    def host(self, hosts: sshd.Hosts) -> Iterator[OpenSsh]:
        found = OpenSsh("node1", str(hosts.config))
        yield found
        found.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        return str(tmp_path)


def test_no_word_that_a_user_may_write_means_anything_to_a_shell_there(host: OpenSsh) -> None:
    ran = host.run(["printf", "<%s>", *AWKWARD], env={"A": "x'y\n$(id)"})
    assert ran.out.decode() == "".join(f"<{word}>" for word in AWKWARD)
    assert host.run(["sh", "-c", 'printf %s "$A"'], env={"A": "x'y\n$(id) %d"}).out == b"x'y\n$(id) %d"


def test_what_a_login_shell_prints_is_not_taken_for_the_answer(hosts: sshd.Hosts, host: OpenSsh) -> None:
    (hosts.folder / "node1" / ".bashrc").write_text("echo welcome; echo 'mind the gap' >&2\n")
    try:
        assert host.run(["echo", "answer"]).out == b"answer\n"
        assert host.run(["sh", "-c", "echo bad >&2"]).err == b"bad\n"
    finally:
        (hosts.folder / "node1" / ".bashrc").unlink()


@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in
                                   ("dash", "fish", "tcsh", "zsh")])  # fmt: skip
def test_whatever_a_login_shell_is_each_word_arrives_as_it_was_sent(tmp_path: Path, shell: str) -> None:
    with sshd.running(tmp_path) as hosts:
        hosts.add("node1", f'ForceCommand exec {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"')
        host = OpenSsh("node1", str(hosts.config))
        try:
            ran = host.run(["printf", "<%s>", *AWKWARD], env={"A": "x'y\n$(id)"})
            assert ran.out.decode() == "".join(f"<{word}>" for word in AWKWARD)
            assert host.run(["sh", "-c", 'printf %s "$A"; exit 7'], env={"A": "x'y\n$(id) %d!"}).status == 7
        finally:
            host.close()


def test_a_host_that_is_not_there_or_does_not_know_us_is_named_with_what_to_do(hosts: sshd.Hosts) -> None:
    with pytest.raises(NotFound, match="there is no host nowhere"):
        OpenSsh("nowhere.invalid", str(hosts.config)).run(["true"])
    stranger = hosts.folder / "stranger"
    stranger.write_text(hosts.config.read_text().replace("UserKnownHostsFile", "UserKnownHostsFile /dev/null #"))
    with pytest.raises(AccessDenied, match="host key of node1 is not known here") as refused:
        OpenSsh("node1", str(stranger)).run(["true"])
    assert f"type `ssh -F {stranger} node1` once" in refused.value.hint
    with pytest.raises(UsageError):
        OpenSsh("-oProxyCommand=id")


def test_a_host_with_another_key_than_before_says_which_and_what_forgets_the_old_one(
    hosts: sshd.Hosts, tmp_path: Path
) -> None:
    known, config = tmp_path / "known", tmp_path / "config"
    other = (hosts.folder / "user.pub").read_text().split()[1]
    key = (hosts.folder / "host.pub").read_text().split()[1]
    known.write_text((hosts.folder / "known").read_text().replace(key, other))
    config.write_text(hosts.config.read_text().replace(str(hosts.folder / "known"), str(known)))
    with pytest.raises(AccessDenied, match=r"node1 shows another host key \(SHA256:\S+\) than before") as refused:
        OpenSsh("node1", str(config)).run(["true"])
    assert f"ssh-keygen -f {known} -R '[127.0.0.1]:{hosts.ports['node1']}'" in refused.value.hint
    assert not OpenSsh("node1", str(config)).may_ask(refused.value), "nobody is asked to let that pass"


def test_a_refused_key_says_so(hosts: sshd.Hosts, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    config = tmp_path / "config"
    config.write_text(hosts.config.read_text().replace(str(hosts.folder / "user"), str(tmp_path / "other")))
    with pytest.raises(AccessDenied) as refused:
        OpenSsh("node1", str(config)).run(["true"])
    assert f"node1 does not let {getpass.getuser()} in" in refused.value.message
    assert f"({tmp_path / 'other'})" in refused.value.message, "which key was offered"


def test_a_host_whose_sshd_is_gone_cannot_be_reached(tmp_path: Path) -> None:
    with sshd.running(tmp_path, "node9") as hosts:
        host = OpenSsh("node9", str(hosts.config))
        assert host.run(["true"]).ok
        hosts.stop("node9")
        with pytest.raises(Unreachable):
            host.run(["true"], timeout=timedelta(seconds=60))
        hosts.start("node9")
        assert host.run(["true"]).ok
        host.close()


def test_what_is_followed_comes_as_it_is_said_and_ends_with_who_follows(hosts: sshd.Hosts, host: OpenSsh) -> None:
    (hosts.folder / "node1" / ".bashrc").write_text("echo welcome; echo 'mind the gap' >&2\n")
    out, err = os.pipe(), os.pipe()
    said: list[str] = []

    def follow() -> None:
        text = "read -r word; echo $word; echo bad >&2; cat"
        try:
            host.follow(["sh", "-c", text], b"word\n", out[1], err[1])
        except Unreachable as error:
            said.append(error.message)

    follower = threading.Thread(target=follow)
    try:
        follower.start()
        assert os.read(out[0], 100) == b"word\n"
        assert os.read(err[0], 100) == b"bad\n"
        assert follower.is_alive()
        (process,) = [one for one in psutil.Process().children() if one.name() == "ssh"]
        process.kill()
        follower.join(30)
        assert said and "the connection to node1 was lost" in said[0]
    finally:
        (hosts.folder / "node1" / ".bashrc").unlink()
        for fd in (*out, *err):
            os.close(fd)
    assert host.follow(["sh", "-c", "exit 7"], b"", 1, 2) == 7


@pytest.mark.parametrize("err", [b"", b"Connection to 10.0.0.1 closed by remote host.\r\n", b"mux_client_request: EOF"])
def test_a_connection_that_goes_under_a_command_is_no_refusal_of_it(err: bytes) -> None:
    """A master that goes tells its clients nothing but the status of ssh itself."""
    with pytest.raises(Unreachable, match="was lost"):
        OpenSsh("node")._ran(["sh"], 255, b"half", err)
    assert OpenSsh("node")._ran(["sh"], 255, b"", b"my own words").status == 255
