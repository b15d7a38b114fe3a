"""Figures: what a task costs, beside peers and beside the machine's own limit, measured in one run.

Plain Python; nothing of the package depends on it, and it depends on nothing but the package's own commands.
"""
