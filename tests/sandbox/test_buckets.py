"""S3 through obstore, as Elsewhere's own stores use it: conditional puts above all."""

from __future__ import annotations

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from sandbox.cloud import Sandbox


def _store(cloud: Sandbox, bucket: str, access_key: str = "") -> S3Store:
    user = cloud.cloud.keys.user
    return S3Store(
        bucket,
        endpoint=cloud.endpoint,
        region="us-east-1",
        access_key_id=access_key or user.access_key,
        secret_access_key=user.secret,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def test_an_object_is_created_once(shared: Sandbox) -> None:
    shared.client("s3").create_bucket(Bucket="claims")
    store = _store(shared, "claims")
    obstore.put(store, "claims/a b/1", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "claims/a b/1", b"second", mode="create")
    assert bytes(obstore.get(store, "claims/a b/1").bytes()) == b"first"
    assert [row["path"] for page in obstore.list(store, "claims/") for row in page] == ["claims/a b/1"]


def test_large_objects_travel_in_parts_and_come_back_whole(shared: Sandbox) -> None:
    shared.client("s3").create_bucket(Bucket="large")
    store = _store(shared, "large")
    data = bytes(range(256)) * (48 << 10)
    obstore.put(store, "big", data, use_multipart=True, chunk_size=5 << 20)
    assert bytes(obstore.get(store, "big").bytes()) == data
    assert bytes(obstore.get_range(store, "big", start=1000, end=2000)) == data[1000:2000]


def test_a_stranger_reads_nothing(shared: Sandbox) -> None:
    shared.client("s3").create_bucket(Bucket="private")
    obstore.put(_store(shared, "private"), "k", b"1")
    with pytest.raises((PermissionDeniedError, UnauthenticatedError, GenericError)):
        obstore.get(_store(shared, "private", "AKIAXXXXXXXXXXXXXXXX"), "k")
