"""PROVISION by Slurm: each machine is a batch job, or an element of an array, whose script is a boot text.

Slurm's commands are text in and text out, here or on a login node. What differs from cluster to cluster is settings.
"""

from elsewhere.backends.slurm.place import Slurm as Slurm
from elsewhere.backends.slurm.settings import SlurmSettings as SlurmSettings
