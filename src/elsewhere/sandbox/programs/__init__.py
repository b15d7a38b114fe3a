"""Programs that the sandbox stands in for, each a file that Python runs by its path; they import nothing of ours."""
