"""What people write down: task lists, settings, and where our own files are kept, read into frozen dataclasses.

Faults are collected and shown all at once, each with its file and line. No process, socket or database is touched here.
Nothing but model and errors may be imported; heavy readers (pydantic, ruamel, PyYAML) only when a file needs them.
"""
