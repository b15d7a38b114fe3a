"""Dask clusters, from within: the scheduler, what a tag is, the client, the records. Their door is api/cluster.py."""
