"""joblib, two processes, from a file of JSON lines: nothing is durable."""

import json
import sys

from joblib import Parallel, delayed
from noop import f

if __name__ == "__main__":
    with open(sys.argv[1]) as lines:
        Parallel(n_jobs=2)(delayed(f)(**json.loads(line)["data"]) for line in lines)
