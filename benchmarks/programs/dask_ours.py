"""A cluster of ours with three workers, each of which has answered; then calls by its client. Says how long."""

import os
import sys
import time

BEGAN = time.perf_counter()


def f(x):
    return x + 1


def where(x):
    time.sleep(0.05)
    return os.getpid()


if __name__ == "__main__":
    from elsewhere import Cluster

    with Cluster(on=sys.argv[1]) as cluster:
        for tag in ("one", "two", "three"):
            cluster.add_container(tag, cpus=1, memory="500M")
            cluster.add_workers(tag)
        client = cluster.client()
        client.gather([client.submit(where, 0, tag=tag) for tag in ("one", "two", "three")])
        print(time.perf_counter() - BEGAN)
        begun = time.perf_counter()
        client.gather(client.map(f, range(1000), tag="one"))
        print(time.perf_counter() - begun)
