"""The same by dask-jobqueue: three workers on Slurm, each of which has answered. Says how long."""

import os
import sys
import time

BEGAN = time.perf_counter()


def where(x):
    time.sleep(0.05)
    return os.getpid()


if __name__ == "__main__":
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    with SLURMCluster(cores=1, processes=1, memory="500MB", interface="lo", log_directory=sys.argv[1]) as cluster:
        cluster.scale(3)
        client = Client(cluster)
        client.wait_for_workers(3)
        assert len(set(client.gather(client.map(where, range(30), pure=False)))) == 3
        print(time.perf_counter() - BEGAN)
