"""A warm call, round trip: `remote` of ours, recorded. Prints {"millis": median}."""

import json
import statistics
import sys
from time import perf_counter

from noop import one

from elsewhere import remote

call = remote(slots=1)(one)
for k in range(20):
    call(k)
took = []
for k in range(int(sys.argv[1])):
    began = perf_counter()
    call(k)
    took.append(perf_counter() - began)
print(json.dumps({"millis": statistics.median(took) * 1000}))
