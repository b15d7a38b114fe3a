"""ProcessPoolExecutor, two processes, from a file of JSON lines: nothing is durable. Chunk size as asked."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor

from noop import f


def call(data):
    return f(**data)


def main(tasks, chunk):
    with ProcessPoolExecutor(2) as pool, open(tasks) as lines:
        rows = (json.loads(line)["data"] for line in lines)
        for _ in pool.map(call, rows, chunksize=int(chunk)):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
