"""huey on SQLite, two worker processes, from a file of JSON lines; results are stored."""

import json
import os
import signal
import subprocess
import sys
import time

from huey import SqliteHuey
from noop import f

path = os.environ.get("HUEY_FILE") or sys.argv[2]
huey = SqliteHuey(filename=path, fsync=True, store_none=True)


@huey.task()
def call(data):
    return f(**data)


def main():
    with open(sys.argv[1]) as lines:
        n = sum(1 for line in lines if call(json.loads(line)["data"]))
    here = os.path.dirname(os.path.abspath(__file__))
    consumer = subprocess.Popen(
        [
            os.path.join(os.path.dirname(sys.executable), "huey_consumer"),
            "huey_list.huey",
            "-w",
            "2",
            "-k",
            "process",
        ],
        env={**os.environ, "HUEY_FILE": path, "PYTHONPATH": here},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while huey.storage.result_store_size() < n:
        if consumer.poll() is not None:
            sys.exit("the consumer ended")
        time.sleep(0.05)
    consumer.send_signal(signal.SIGINT)
    consumer.wait()


if __name__ == "__main__":
    import huey_list  # under the name by which the consumer knows the task

    huey_list.main()
