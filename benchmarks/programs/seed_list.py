"""rms-cloud-tasks' worker, two tasks at a time, from a file of JSON lines made into the JSON array that it wants."""

import asyncio
import json
import os
import sys

from cloud_tasks.worker import Worker
from noop import f


def process_task(task_id, task_data, worker_data):
    return True, f(**task_data)


async def main(tasks):
    worker = Worker(process_task, args=["--task-file", tasks, "--num-simultaneous-tasks", "2"])
    await worker.start()


if __name__ == "__main__":
    array = os.path.splitext(sys.argv[1])[0] + ".seed.json"
    with open(sys.argv[1]) as lines, open(array, "w") as file:
        json.dump([json.loads(line) for line in lines], file)
    os.chdir(os.path.dirname(array))
    asyncio.run(main(array))
