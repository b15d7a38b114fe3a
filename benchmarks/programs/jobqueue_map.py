"""The same calls by Dask: three workers that dask-jobqueue has Slurm start. Prints how many have come home."""

import sys

from dask_jobqueue import SLURMCluster
from distributed import Client
from noop import one

if __name__ == "__main__":
    with SLURMCluster(cores=1, processes=1, memory="300MB", walltime="00:30:00", interface="lo",
                      scheduler_options={"dashboard_address": None}) as cluster, Client(cluster) as client:  # fmt: skip
        cluster.scale(3)
        client.wait_for_workers(3)
        print(len(client.gather(client.map(one, range(int(sys.argv[1]))))))
