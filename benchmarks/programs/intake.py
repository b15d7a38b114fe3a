"""A task list read, checked and committed as a new job; nothing is run."""

import sys
from pathlib import Path

from elsewhere import session
from elsewhere.config import tasks
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec

spec = JobSpec(id=ids.new("job"), name="intake", entry=Entry("function", target="noop:f"), slots=2)
session.create(spec, tasks.read(Path(sys.argv[1])))
