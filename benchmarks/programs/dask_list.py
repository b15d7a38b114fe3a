"""Dask distributed, two worker processes, from a file of JSON lines: nothing is durable."""

import json
import sys

from distributed import Client, LocalCluster
from noop import f


def call(data):
    return f(**data)


if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        with open(sys.argv[1]) as lines:
            futures = client.map(call, [json.loads(line)["data"] for line in lines], pure=False)
        client.gather(futures)
