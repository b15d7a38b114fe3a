"""One job's controller: its lock, its loop, its control socket, and who executes for it."""
