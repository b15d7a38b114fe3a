"""A call over ssh without us: `warm` to one Python at the other end of a pipe, `each` to a new Python for each call.

Arguments: which, how often, and ssh's words with the host. Prints {"millis": median}.
"""

import json
import statistics
import subprocess
import sys
from time import perf_counter

ANSWER = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line)\n    sys.stdout.buffer.flush()"
way, count, ssh = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def each(k):
    text = subprocess.run([*ssh, f"python3 -c 'print({k})'"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert int(text.stdout) == k


def warm(process, k):
    process.stdin.write(f"{k}\n".encode())
    assert int(process.stdout.readline()) == k


def millis(call):
    call(0)  # the connection is made, where one is kept
    took = []
    for k in range(count):
        began = perf_counter()
        call(k)
        took.append(perf_counter() - began)
    return statistics.median(took) * 1000


if way == "each":
    print(json.dumps({"millis": millis(each)}))
else:
    with subprocess.Popen(
        [*ssh, f"python3 -c '{ANSWER}'"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        print(json.dumps({"millis": millis(lambda k: warm(process, k))}))
        process.stdin.close()
