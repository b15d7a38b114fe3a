"""The same calls by submitit: an array of Slurm, an element for each. Prints how many have come home."""

import sys
import tempfile

import submitit
from noop import one

with tempfile.TemporaryDirectory(dir=".") as folder:
    executor = submitit.AutoExecutor(folder, cluster="slurm")
    executor.update_parameters(timeout_min=30, slurm_array_parallelism=1000, mem_gb=0.1)
    jobs = executor.map_array(one, range(int(sys.argv[1])))
    print(len([job.result() for job in jobs]))
