"""DESCRIBE: what work is, in frozen dataclasses. Standard library only; no I/O, no clock, no process."""
