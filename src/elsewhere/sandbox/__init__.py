"""A cloud on this machine: real processes as machines behind the real APIs, on loopback, for rehearsals and for tests.

Only its own command imports it. It may use the extra `sandbox`, and nothing of it is needed to run on a real cloud.
"""
