"""A store in a bucket, by obstore: S3, and whatever else it speaks. The bucket's own listing order and conditions hold.

A store is opened by its URL; credentials are those of the cloud's own tools, asked for anew as they run out.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from elsewhere import aws
from elsewhere.errors import (
    AccessDenied,
    ElsewhereError,
    MissingExtra,
    NotFound,
    PlaceError,
    Refused,
    Unreachable,
    UsageError,
)
from elsewhere.stores import DirectoryStore, Store, checked, checked_prefix

BATCH = 1000
"""Keys that one call deletes."""
PART = 8 << 20
"""Bytes; what is larger goes up in parts of this, several at once."""
AT_ONCE = 4
"""Of these, where they are read from a file: together they are what lies in memory."""
_TRIES = 5
_TTL = timedelta(minutes=5)
"""After so long the SDK is asked for its credentials again; it renews them before they run out."""
Explain = Callable[[str, str, str, int], PlaceError]
"""Code, text, call and status of a refusal -> our error."""


class ObjectStore:
    """Bytes by key in a bucket, under the prefix that `inner` was made with."""

    def __init__(
        self, inner: Any, once: Callable[[], Any], url: str, explain: Explain, failed: Callable[[], Exception | None]
    ) -> None:
        """`once` gives another `inner`, which never asks twice: a second answer would deny what the first `create` did.
        It is called when that is wanted: each has connections of its own, and reads all certificates of the system.
        `failed`: what the credentials' provider met last, which gets no further than its log."""
        self._inner, self._once, self._url = inner, functools.cache(once), url.rstrip("/")
        self._explain, self._failed = explain, failed

    def get(self, key: str) -> bytes:
        return self._read(checked(key), None)[0]

    def changed(self, key: str, tag: str) -> tuple[bytes, str] | None:
        """The object and its tag; None if the tag is still this one. NotFound. "": whatever its tag."""
        from obstore.exceptions import NotModifiedError

        try:
            return self._read(checked(key), {"if_none_match": tag} if tag else None)
        except NotModifiedError:
            return None

    def put(self, key: str, data: bytes) -> None:
        import obstore

        checked(key)
        try:
            obstore.put(self._inner, key, data, chunk_size=PART)
        except Exception as error:
            raise self._trouble(error, f"{self._url}/{key}", "PutObject") from error

    def put_file(self, key: str, path: Path) -> None:
        import obstore

        checked(key)
        try:
            obstore.put(self._inner, key, path, chunk_size=PART, max_concurrency=AT_ONCE)
        except Exception as error:
            raise self._trouble(error, f"{self._url}/{key}", "PutObject") from error

    def get_file(self, key: str, to: Path) -> None:
        self.fetch(checked(key), to)

    def fetch(self, key: str, to: Path) -> None:
        """As `get_file`, of an object that others made, whose name may be no key of ours."""
        try:
            found = self._asked(key, None)
            with to.open("xb") as file:
                for piece in found.stream(min_chunk_size=PART):
                    file.write(piece)
        except (ElsewhereError, OSError):
            raise
        except Exception as error:
            raise self._trouble(error, f"{self._url}/{key}", "GetObject") from error

    def create(self, key: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        checked(key)
        for left in range(_TRIES - 1, -1, -1):
            try:
                obstore.put(self._once(), key, data, mode="create", use_multipart=False)
                return True
            except AlreadyExistsError:
                return False
            except Exception as error:
                if "ConditionalRequestConflict" not in str(error) or not left:  # somebody is making it just now
                    raise self._trouble(error, f"{self._url}/{key}", "PutObject") from error
        raise AssertionError("unreachable")

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        return self._list(checked_prefix(prefix), after)

    def delete(self, keys: Iterable[str]) -> None:
        import obstore

        todo = (checked(key) for key in keys)
        while part := [*itertools.islice(todo, BATCH)]:
            try:
                obstore.delete(self._inner, part)
            except FileNotFoundError:
                pass
            except Exception as error:
                raise self._trouble(error, self._url, "DeleteObject") from error

    def url(self, key: str) -> str:
        return f"{self._url}/{checked(key)}"

    def _read(self, key: str, options: Any) -> tuple[bytes, str]:
        found = self._asked(key, options)
        try:
            return bytes(found.bytes()), str(found.meta["e_tag"] or "")
        except Exception as error:
            raise self._trouble(error, f"{self._url}/{key}", "GetObject") from error

    def _asked(self, key: str, options: Any) -> Any:
        """The answer, of which no byte is read yet."""
        import obstore
        from obstore.exceptions import NotModifiedError

        try:
            return obstore.get(self._inner, key, options=options)
        except NotModifiedError:
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._trouble(error, self._url, "GetObject") from error
            raise NotFound(f"there is no object {key} in {self._url}") from None
        except Exception as error:
            raise self._trouble(error, f"{self._url}/{key}", "GetObject") from error

    def _list(self, prefix: str, after: str) -> Iterator[str]:
        import obstore

        folder = prefix.rpartition("/")[0]
        if after and not after > prefix:
            after = ""  # nothing of this prefix sorts before it
        try:
            for part in obstore.list(self._inner, folder or None, offset=after or None, chunk_size=BATCH):
                for entry in part:
                    if (key := str(entry["path"])).startswith(prefix) and key > after:
                        yield key
        except FileNotFoundError as error:
            raise self._trouble(error, self._url, "ListBucket") from error
        except Exception as error:
            raise self._trouble(error, self._url, "ListBucket") from error

    def _trouble(self, error: Exception, where: str, action: str) -> ElsewhereError:
        failed = self._failed()
        if failed is not None:
            return aws.explained(failed, f"s3:{action}")
        text = str(error)
        code, status = re.search(r"<Code>(\w+)</Code>", text), re.search(r"\bstatus:? (\d{3})\b", text)
        if code or status:
            said = re.search(r"<Message>([^<]*)</Message>", text)
            return self._explain(
                code[1] if code else "", f"{where}: {said[1]}" if said else where, f"s3:{action}",
                int(status[1]) if status else 0,
            )  # fmt: skip
        if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
            return self._explain("AccessDenied", where, f"s3:{action}", 403)
        if isinstance(error, (ValueError, TypeError)):
            return Refused(f"{where}: {error}")
        return Unreachable(f"{where} gives no answer: {_short(text)}", hint="it is asked again")


def open_store(url: str, region: str = "") -> Store:
    """The store of this URL: s3://bucket/prefix, or file:///directory. UsageError if it names none."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc and not (parts.query or parts.fragment):
        return _s3(parts.netloc, checked_prefix(parts.path.strip("/")), region)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return DirectoryStore(Path(parts.path))
    raise UsageError(f"{url!r} is not the address of a store", hint="such as s3://bucket/prefix or file:///directory")


def fetch(url: str, to: Path) -> None:
    """The object of s3://bucket/key or gs://bucket/key into a new file, in pieces. NotFound, and errors as of `get`."""
    parts = urlsplit(url)
    key = unquote(parts.path.lstrip("/"))
    opened = _gs(parts.netloc) if parts.scheme == "gs" else _s3(parts.netloc, "", "")
    opened.fetch(key, to)


def _gs(bucket: str) -> ObjectStore:
    """A bucket of Google's, to read from: with the credentials that its own tools have here, else as anybody may."""
    try:
        from obstore.store import GCSStore
    except ImportError:
        raise MissingExtra("a bucket needs obstore", hint="pip install 'elsewhere[aws]'") from None
    config: Any = {} if _google_knows_us() else {"skip_signature": True}
    plain = os.environ.get("GOOGLE_BASE_URL", "").startswith("http:")
    client: Any = {"timeout": "120s", "connect_timeout": "5s", "allow_http": plain}
    retries: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
    inner = GCSStore(bucket, config=config, client_options=client, retry_config=retries)
    return ObjectStore(inner, lambda: inner, f"gs://{bucket}", _of_google, lambda: None)


def _google_knows_us() -> bool:
    """Are there credentials where Google's tools keep them, or is this one of its machines?"""
    named = (
        "APPLICATION_CREDENTIALS",
        "SERVICE_ACCOUNT",
        "SERVICE_ACCOUNT_PATH",
        "SERVICE_ACCOUNT_KEY",
        "BEARER_TOKEN",
    )
    if any(os.environ.get(f"GOOGLE_{name}") for name in named):
        return True
    if (Path.home() / ".config" / "gcloud" / "application_default_credentials.json").is_file():
        return True
    try:
        return Path("/sys/class/dmi/id/product_name").read_text().startswith("Google")
    except OSError:
        return False


def _of_google(code: str, text: str, call: str, status: int) -> PlaceError:
    if status in (401, 403) or code == "AccessDenied":
        return AccessDenied(f"{text}: it may not be read with the credentials that are here, or without any",
                            hint="gcloud auth application-default login")  # fmt: skip
    return Refused(f"{text}: status {status}") if 400 <= status < 500 else Unreachable(f"{text} gives no answer")


def _s3(bucket: str, prefix: str, region: str) -> ObjectStore:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise MissingExtra("a bucket needs obstore", hint="pip install 'elsewhere[aws]'") from None
    endpoint = aws.endpoint("s3")
    config: Any = {"region": aws.region(region or aws.region_of(bucket))}
    if endpoint:
        config["endpoint"] = endpoint
    else:
        config["virtual_hosted_style_request"] = "." not in bucket  # the certificate covers one word before the name
    credentials = Credentials(aws.profile_of(bucket))
    client: Any = {"timeout": "120s", "connect_timeout": "5s", "allow_http": endpoint.startswith("http:")}
    common: Any = {
        "prefix": prefix or None,
        "config": config,
        "client_options": client,
        "credential_provider": credentials,
    }
    retries: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
    inner = S3Store(bucket, retry_config=retries, **common)
    once: Any = functools.partial(S3Store, bucket, retry_config=retries | {"max_retries": 0}, **common)
    url = f"s3://{bucket}/{prefix}"
    return ObjectStore(inner, once, url, aws.by_code, lambda: credentials.failed)


class Credentials:
    """The SDK's credentials for obstore, which knows neither profiles nor single sign-on. Called by its threads."""

    def __init__(self, profile: str | None = None) -> None:
        self.profile = profile
        self.failed: Exception | None = None
        self._lock = threading.Lock()

    def __call__(self) -> dict[str, object]:
        with self._lock:
            try:
                source = aws.session(self.profile).get_credentials()
                if source is None:
                    from botocore.exceptions import NoCredentialsError

                    raise NoCredentialsError
                now = source.get_frozen_credentials()
                self.failed = None
            except Exception as error:
                self.failed = error
                raise
        until = datetime.now(UTC) + _TTL
        found = {"access_key_id": now.access_key, "secret_access_key": now.secret_key, "expires_at": until}
        return {**found, **({"token": now.token} if now.token else {})}


def _short(text: str) -> str:
    """The first lines of obstore's errors say it; what follows is how it is built."""
    return " ".join(text.partition("\n\nDebug")[0].split())[:300]
