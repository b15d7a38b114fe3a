"""multiprocessing.Pool.imap in chunks of 64, two processes, from a file of JSON lines: nothing is durable."""

import json
import sys
from multiprocessing import Pool

from noop import f


def call(data):
    return f(**data)


if __name__ == "__main__":
    with Pool(2) as pool, open(sys.argv[1]) as lines:
        for _ in pool.imap(call, (json.loads(line)["data"] for line in lines), 64):
            pass
