"""A warm call, round trip: ProcessPoolExecutor, nothing recorded. Prints {"millis": median}."""

import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from noop import one

if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        for k in range(20):
            pool.submit(one, k).result()
        took = []
        for k in range(int(sys.argv[1])):
            began = perf_counter()
            pool.submit(one, k).result()
            took.append(perf_counter() - began)
    print(json.dumps({"millis": statistics.median(took) * 1000}))
