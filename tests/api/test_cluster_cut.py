"""A network that is cut for half a minute, for real: in a namespace of its own, whose packets are dropped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(300)]

SCRIPT = """
import json, subprocess, time
from elsewhere import Cluster

def slowly(x):
    time.sleep(1)
    with open("ran", "a") as file:
        file.write(f"{x}\\n")
    return x

def firewall(what, port):
    for end in ("--dport", "--sport"):
        subprocess.run(["iptables", what, "INPUT", "-p", "tcp", end, port, "-j", "DROP"], check=True)

if __name__ == "__main__":
    with Cluster() as cluster:
        cluster.add_container("a")
        cluster.add_workers("a", 2)
        cluster.wait_for_workers("a", 2)
        with cluster.client() as client:
            futures = client.map(slowly, range(60), tag="a")
            futures[0].result()
            port = cluster.address.rpartition(":")[2]
            firewall("-I", port)
            time.sleep(30)
            firewall("-D", port)
            print(json.dumps([client.gather(futures), [w["name"] for w in cluster.status()["tags"]["a"]["workers"]]]))
"""


@pytest.mark.needs("unshare", "iptables", "ip")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may have a network of its own")
def test_a_cut_of_half_a_minute_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    path = f"{os.environ['PATH']}:/usr/sbin"
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "script.py"]
    unshare = shutil.which("unshare", path=path)
    assert unshare
    done = subprocess.run(
        [unshare, "--net", *inside], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
        env={**os.environ, "PATH": path, "ELSEWHERE_HOME": str(tmp_path / "h")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    values, workers = json.loads(done.stdout.splitlines()[-1])
    assert values == list(range(60))
    assert workers == ["a/1", "a/2"], "they stayed"
    assert sorted(map(int, (tmp_path / "ran").read_text().split())) == list(range(60)), "each ran once"
