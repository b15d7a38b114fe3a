"""How a dashboard that is elsewhere is seen here: over mutual TLS, and by nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from elsewhere.ship import certificates

pytest.importorskip("distributed")


def test_a_page_comes_through_for_who_has_the_certificate_of_the_cluster_and_for_nobody_else(tmp_path: Path) -> None:
    from elsewhere.api.dask.relay import relay
    from elsewhere.api.dask.scheduling import security

    (tmp_path / "other").mkdir()
    trust, other = security(certificates.make(tmp_path)), security(certificates.make(tmp_path / "other"))

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"page of " + await reader.readline())
        writer.close()

    async def asked(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"status\n")
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except OSError:
            return b""
        finally:
            writer.close()

    async def seen() -> tuple[bytes, bytes, bytes]:
        servers = [await asyncio.start_server(page, "127.0.0.1", 0)]
        port = servers[0].sockets[0].getsockname()[1]
        there, door = await relay("127.0.0.1", ("127.0.0.1", port), security_of(trust, "listen"))
        here, own = await relay("127.0.0.1", ("127.0.0.1", door), connects=security_of(trust, "connection"))
        foreign, wrong = await relay("127.0.0.1", ("127.0.0.1", door), connects=security_of(other, "connection"))
        found = await asked(own), await asked(wrong), await asked(door)
        for server in (*servers, there, here, foreign):
            server.close()
        return found

    assert asyncio.run(seen()) == (b"page of status\n", b"", b"")


def security_of(trust: Any, end: str) -> Any:
    role = "client" if end == "connection" else "scheduler"
    return getattr(trust, f"get_{end}_args")(role)["ssl_context"]
