"""The Python of Scalable's README, as it stands there but for the import line, on a real Slurm with containers.

A private root and network, in which there are the directories and the interface that the README names: nothing of this
machine is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.cluster import PROGRAMS

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.soak, pytest.mark.timeout(300),
    pytest.mark.needs(*PROGRAMS, "busybox", "ch-run", "unshare", "ip", "pivot_root"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a root directory and a network of its own"),
]  # fmt: skip

README = """
from elsewhere.compat.scalable import SlurmCluster, ScalableClient

cluster = SlurmCluster(queue='slurm', walltime='02:00:00', account='GCIMS', interface='ib0', silence_logs=False)
cluster.add_container(tag="gcam", cpus=10, memory="20G", dirs={"/qfs/people/user/work/gcam-core":"/gcam-core", "/rcfs":"/rcfs"})
cluster.add_container(tag="stitches", cpus=6, memory="50G", dirs={"/qfs/people/user":"/user", "/rcfs":"/rcfs"})
cluster.add_container(tag="osiris", cpus=8, memory="20G", dirs={"/rcfs/projects/gcims/data":"/data", "/qfs/people/user/test":"/scratch"})
cluster.add_worker(n=3, tag="gcam")
cluster.add_worker(n=2, tag="stitches")
cluster.add_worker(n=3, tag="osiris")
cluster.remove_workers(n=2, tag="gcam")
cluster.remove_workers(n=1, tag="stitches")
cluster.remove_workers(n=3, tag="osiris")

def func1(param):
    import gcam
    print(f"{param=} {gcam.__version__}")
    return gcam.__version__

def func2(param):
    import stitches
    print(f"{param=} {stitches.__version__}")
    return stitches.__version__

def func3(param):
    import osiris
    print(f"{param=} {osiris.__version__}")
    return osiris.__version__

client = ScalableClient(cluster)

fut1 = client.submit(func1, "gcam", tag="gcam")
fut2 = client.submit(func2, "stitches", tag="stitches")
fut3 = client.submit(func3, "osiris", tag="osiris")
"""  # noqa: E501
"""Its import line is changed, and nothing else."""

AFTER = """
import os, subprocess
print(fut1.result(100), fut2.result(100))
cluster.add_worker(n=1, tag="OSIRIS")   # the README has removed them all
print(fut3.result(100))
cluster.walltime = "00:30:00"
def mounted():
    return sorted(os.listdir("/gcam-core")), os.path.exists("/bin/busybox")
print(client.submit(mounted, tag="gcam").result(100))
print(subprocess.run(["squeue", "-h", "-o", "%P %a %l %C %m"], capture_output=True, text=True).stdout.split("\\n")[0])
"""

ROOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
for name in /*; do
  if [ -L "$name" ]; then cp -P "$name" "$1$name"
  elif [ -d "$name" ]; then mkdir "$1$name"; mount --rbind "$name" "$1$name"
  fi
done
mkdir -p "$1/old" "$1/qfs/people/user/work/gcam-core" "$1/qfs/people/user/test" "$1/rcfs/projects/gcims/data"
touch "$1/qfs/people/user/work/gcam-core/model.exe"
cd "$1"; pivot_root . old; cd /; umount -l old
# the cluster has one runtime, and it is none that wants a store or a daemon first
for name in $(which -a podman docker); do mount --bind /dev/null "$name"; done
ip link set lo up
ip link add ib0 type veth peer name ib1; ip link set ib1 up; ip addr add 10.99.0.1/24 dev ib0; ip link set ib0 up
cd "$2"; shift 2
exec "$@"
"""

WITHIN = """
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from slurm.cluster import running
folder = Path.cwd()
with running(folder / "s", nodes=2, cpus=64, memory=200_000, more=["PartitionName=slurm Nodes=ALL MaxTime=INFINITE State=UP"]) as slurm:
    env = {{**os.environ, **slurm.env(), "ELSEWHERE_HOME": str(folder / "e")}}
    done = subprocess.run([sys.executable, "readme.py"], env=env, timeout=200)
    print("left", slurm.queue())
    sys.exit(done.returncode)
"""  # noqa: E501


def test_the_python_of_the_readme_runs_as_it_stands_there_but_for_the_import(tmp_path: Path) -> None:
    from ship import rootfs

    (tmp_path / "containers").mkdir()
    for tag, version in (("gcam", "7.0"), ("stitches", "0.12"), ("osiris", "0.1")):
        package = f"{rootfs.SITE}/{tag}.py"
        rootfs.archive(tmp_path / f"{tag}.tar", packages=["distributed"],
                       files={package: f"__version__ = '{version}'".encode()})  # fmt: skip
    (tmp_path / "config_dict.yaml").write_text(
        "".join(f"{tag}: {{Path: 'oci-archive:{tmp_path}/{tag}.tar'}}\n" for tag in ("gcam", "stitches", "osiris"))
    )
    (tmp_path / "readme.py").write_text(README + AFTER)
    (tmp_path / "within.py").write_text(WITHIN.format(tests=str(Path(__file__).parents[1])))
    (tmp_path / "root").mkdir()
    unshare = shutil.which("unshare", path=f"{os.environ['PATH']}:/usr/sbin")
    words = [str(unshare), "-mn", "sh", "-c", ROOT, "sh", str(tmp_path / "root"), str(tmp_path), sys.executable]
    done = subprocess.run([*words, "within.py"], capture_output=True, text=True, timeout=280, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert said == ["7.0 0.12", "0.1", "(['model.exe'], True)", "slurm gcims 2:00:00 10 19074M", "left []"]
