"""READ: what a job is doing, has done and why, drawn from its ledger and its slots' files.

Readers only: nothing here changes a job. Colour, terminals and exit statuses belong to cli/.
"""
