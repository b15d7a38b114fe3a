"""A numpy array there and back through `remote`. Prints {"seconds": median of three, after one to warm up}."""

import json
import statistics
import sys
from time import perf_counter

import numpy
from noop import one

from elsewhere import remote

call = remote(slots=1)(one)
array = numpy.random.default_rng(1).random(int(sys.argv[1]) // 8)
took = []
for _ in range(4):
    began = perf_counter()
    back = call(array)
    took.append(perf_counter() - began)
    assert back[-1] == array[-1] and len(back) == len(array)
    del back
print(json.dumps({"seconds": statistics.median(took[1:])}))
