"""Calls of ours on a host. `first` prints {"seconds": of the first one}, `warm` {"millis": median of N after it}."""

import json
import statistics
import sys
from time import perf_counter

from noop import one

from elsewhere import remote

call = remote(on="one")(one)


def took(k):
    began = perf_counter()
    assert call(k) == k
    return perf_counter() - began


first = took(0)
if sys.argv[1] == "first":
    print(json.dumps({"seconds": first}))
else:
    for k in range(20):
        took(k)
    print(json.dumps({"millis": statistics.median(took(k) for k in range(int(sys.argv[2]))) * 1000}))
