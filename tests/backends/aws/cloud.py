"""A sandbox cloud on loopback, of one process with the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elsewhere.sandbox.cloud import Cloud, Settings

REGION = "us-east-1"


@contextmanager
def cloud(home: Path) -> Iterator[Cloud]:
    """Its variables are set, and lead nowhere else; nothing of the user's own is read."""
    made = Cloud(home / "sandbox", Settings(lag=1.0))
    made.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_EC2"):
                patch.delenv(name, raising=False)
            for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
                patch.setenv(name, str(home / name.lower()))
            patch.setenv("ELSEWHERE_HOME", str(home / "state"))
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server.port}")
            patch.setenv("AWS_ACCESS_KEY_ID", made.found.access_key)
            patch.setenv("AWS_SECRET_ACCESS_KEY", made.keys.user.secret)
            patch.setenv("AWS_DEFAULT_REGION", REGION)
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            yield made
    finally:
        made.close()
