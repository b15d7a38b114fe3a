"""For people who write backends, channels, stores and hosts: fakes that take orders, and the suites to pass.

Nothing of the package imports it. `conformance` needs pytest; `fake` needs nothing.
"""
