"""The ways in from Python. Everything goes through `session`; nothing heavy is imported before the first use."""
