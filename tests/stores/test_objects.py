"""Buckets pass the suite against a server of S3; and what goes wrong there is said in our words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from elsewhere import aws
from elsewhere.backends import registry
from elsewhere.backends.registry import HIRED
from elsewhere.channels.registry import sqs_in
from elsewhere.errors import (
    AccessDenied,
    CredentialsExpired,
    ElsewhereError,
    NotFound,
    Refused,
    Unreachable,
    UsageError,
)
from elsewhere.model.place import Place
from elsewhere.sandbox.fallback import ACCOUNT, Moto
from elsewhere.sandbox.server import Server
from elsewhere.stores import DirectoryStore
from elsewhere.stores.objects import Credentials, ObjectStore, open_store
from elsewhere.testing.conformance import StoreConformance
from sandbox.served import account_of

_serial = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """S3 as the sandbox serves it."""
    moto = Moto()
    moto.load()
    server = Server(moto.answer)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.fixture
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Credentials and an endpoint in the environment, as the user would set them."""
    account_of(monkeypatch, server)
    aws.forget()
    yield server
    aws.forget()


def bucket() -> str:
    name = f"bucket-{next(_serial)}"
    aws.client("s3", "us-east-1").create_bucket(Bucket=name)
    return name


def opened(url: str) -> ObjectStore:
    store = open_store(url)
    assert isinstance(store, ObjectStore)
    return store


class TestBucket(StoreConformance):
    @pytest.fixture
    def store(self, account: str) -> ObjectStore:
        return opened(f"s3://{bucket()}")


class TestPrefixOfABucket(StoreConformance):
    @pytest.fixture
    def store(self, account: str) -> ObjectStore:
        name = bucket()
        opened(f"s3://{name}").put("jobs/b/other", b"")
        opened(f"s3://{name}").put("jobs/aa", b"")
        return opened(f"s3://{name}/jobs/a/")


def test_large_objects_go_up_in_parts_and_come_back_whole(account: str) -> None:
    store = opened(f"s3://{bucket()}/p")
    data = bytes(range(256)) * (80 << 10)
    store.put("large", data)
    assert store.get("large") == data
    assert store.create("large", b"") is False


@pytest.mark.slow
def test_more_than_one_page_is_listed_in_order_and_deleted_in_batches(account: str) -> None:
    from moto.s3.models import s3_backends

    name = bucket()
    store = opened(f"s3://{name}/p")
    keys = [f"k/{n:05d}" for n in range(1203)]
    behind = s3_backends[ACCOUNT]["aws"]  # the server is of this process: 1203 requests would take a minute
    for key in keys:
        behind.put_object(name, f"p/{key}", b"")
    assert list(store.list("k/")) == keys
    assert list(store.list("k/", after="k/01001")) == keys[1002:]
    assert next(store.list("k/")) == keys[0]
    store.delete(iter(keys))
    assert list(store.list()) == []


def test_what_did_not_change_is_not_fetched_again(account: str) -> None:
    store = opened(f"s3://{bucket()}")
    store.put("k", b"one")
    first = store.changed("k", "")
    assert first is not None and first[0] == b"one"
    assert store.changed("k", first[1]) is None
    store.put("k", b"two")
    second = store.changed("k", first[1])
    assert second is not None and second[0] == b"two"
    with pytest.raises(NotFound):
        store.changed("none", "")


def test_a_bucket_that_is_not_there_is_not_found_and_named(account: str) -> None:
    store = opened("s3://no-such-bucket/p")
    for call in (lambda: store.get("k"), lambda: store.put("k", b""), lambda: list(store.list())):
        with pytest.raises(NotFound, match="no-such-bucket"):
            call()


def test_nobody_there_is_unreachable(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = opened("s3://bucket")
    with pytest.raises(Unreachable) as caught:
        store.create("k", b"")  # which does not ask twice
    assert caught.value.transient


def test_without_credentials_it_is_said_what_to_do(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.forget()
    with pytest.raises(AccessDenied) as caught:
        opened("s3://bucket").create("k", b"")
    assert "aws configure" in caught.value.hint


def test_credentials_are_the_sdks_and_are_renewed_when_they_run_out(account: str) -> None:
    """Given a source that refreshes, then what is asked for later is what it says later."""
    from botocore.credentials import RefreshableCredentials

    asked: list[str] = []

    def refresh() -> dict[str, str]:
        asked.append(f"AKIA{len(asked)}")
        until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()  # within the time in which the SDK renews
        return {"access_key": asked[-1], "secret_key": "s", "token": "t", "expiry_time": until}

    from elsewhere.stores.objects import Credentials

    aws.session()._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "sso")
    source = Credentials()
    first, second = source(), source()
    assert first["access_key_id"] != second["access_key_id"]
    assert second["token"] == "t"


@pytest.mark.parametrize(("url", "right"), [("https://s3.example", True), ("http://127.0.0.1:9", True),
                                            ("http://localhost", True), ("http://10.0.0.1", False),
                                            ("http://127.0.0.1.example.org", False), ("ftp://x", False)])  # fmt: skip
def test_nothing_travels_in_the_clear_beyond_this_machine(
    account: str, monkeypatch: pytest.MonkeyPatch, url: str, right: bool
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    if right:
        assert aws.endpoint("s3") == url
    else:
        with pytest.raises(UsageError):
            open_store("s3://bucket")


@pytest.mark.parametrize("url", ["", "s3://", "s3:///x", "gs://b", "/path", "file://host/x", "s3://b/x?y"])
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url)


def test_a_prefix_that_is_none_is_refused() -> None:
    with pytest.raises(Refused):
        open_store("s3://bucket/../other")


def test_a_directory_has_an_address_too(tmp_path: Any) -> None:
    store = open_store(f"file://{tmp_path}")
    store.put("k", b"x")
    assert DirectoryStore(tmp_path).get("k") == b"x"


@pytest.mark.parametrize(("code", "status", "kind", "hint"), [
    ("ExpiredToken", 400, CredentialsExpired, "aws sso login --profile work"),
    ("AccessDenied", 403, AccessDenied, '"Action": "s3:GetObject"'),
    ("SlowDown", 503, Unreachable, "less often"),
    ("NoSuchBucket", 404, NotFound, ""),
    ("PermanentRedirect", 301, Refused, ""),
])  # fmt: skip
def test_each_refusal_is_the_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[ElsewhereError], hint: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")

    class Broken:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            raise AssertionError(name)

    def get(*_: object, **__: object) -> None:
        from obstore.exceptions import GenericError

        body = f"<Error><Code>{code}</Code><Message>so it is</Message></Error>"
        raise GenericError(f"Generic S3 error: Client error with status {status}: {body}")

    monkeypatch.setattr("obstore.get", get)
    store = ObjectStore(Broken(), Broken, "s3://b/p", aws.by_code, lambda: None)
    with pytest.raises(kind) as caught:
        store.get("k")
    assert hint in caught.value.hint and "s3:GetObject" in str(caught.value)


def test_a_bucket_in_another_region_than_the_users_is_found(account: str) -> None:
    name = f"bucket-{next(_serial)}"
    where = {"LocationConstraint": "eu-west-3"}
    aws.client("s3", "eu-west-3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    assert aws.region_of(name) == "eu-west-3" and aws.region_of("no-such-bucket") == ""
    store = opened(f"s3://{name}")
    store.put("k", b"v")
    assert store.get("k") == b"v"


@pytest.fixture
def profiles(account: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two, each with keys of its own, and none in the environment."""
    words = "[{}]\naws_access_key_id = AKIA{}\naws_secret_access_key = s\n"
    (tmp_path / "credentials").write_text("".join(words.format(name, name.upper()) for name in ("lab", "home")))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(aws, "_profile", "")
    monkeypatch.setattr(aws, "_profiles", {})


def test_calls_are_made_with_the_profile_of_the_place(profiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("mine", "aws", {"profile": "lab", "region": "us-east-1"})
    registry.build(place)
    assert aws.session().get_credentials().access_key == "AKIALAB"
    monkeypatch.setenv(HIRED, "1")
    assert registry.build(place).settings.profile == "", "a machine that was hired has none of ours"  # type: ignore[attr-defined]


def test_two_places_of_one_program_have_each_its_profile_and_its_bucket(profiles: None) -> None:
    used = {}
    for profile in ("lab", "home"):
        settings = {"profile": profile, "region": "us-east-1", "bucket": f"s3://of-{profile}"}
        cast(Any, registry.build(Place(profile, "aws", settings))).deposit()
        store = open_store(f"s3://of-{profile}/elsewhere/jobs/j")
        store.put("k", b"v")
        queues = sqs_in("us-east-1", f"e-{profile}", f"s3://of-{profile}/elsewhere", "j", None, b"")
        signed = queues._wire._client()._request_signer._credentials.access_key
        used[profile] = (signed, Credentials(aws.profile_of(f"of-{profile}"))()["access_key_id"])
    assert used == {"lab": ("AKIALAB", "AKIALAB"), "home": ("AKIAHOME", "AKIAHOME")}
    assert "--profile" not in aws._login(), "it is not known which of them has run out"


def test_two_places_with_two_profiles_and_one_bucket_are_refused(profiles: None) -> None:
    aws.use("ours", "lab")
    aws.use("ours", "lab")
    for other, named in (("", "default"), ("home", "home")):
        with pytest.raises(
            UsageError, match=f"the bucket ours with the profile lab, and this place wants {named}"
        ) as caught:
            aws.use("ours", other)
        assert "bucket:" in caught.value.hint
    assert aws.profile_of("ours") == "lab"
