"""The suites that a store, a host, a channel and a backend must pass to be accepted. Subclass, give the fixtures, run.

class TestMine(StoreConformance):
    @pytest.fixture
    def store(self): return MyStore()
"""

from __future__ import annotations

from elsewhere.testing.backend_suite import BackendConformance
from elsewhere.testing.channel_suite import ChannelConformance, Ends
from elsewhere.testing.host_suite import HostConformance
from elsewhere.testing.store_suite import StoreConformance

__all__ = ["BackendConformance", "ChannelConformance", "Ends", "HostConformance", "StoreConformance"]
