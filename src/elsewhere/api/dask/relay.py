"""Passes connections on: how the dashboard of a scheduler that runs elsewhere is seen here, over mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
from ssl import SSLContext

_CHUNK = 1 << 16


async def relay(
    host: str,
    target: tuple[str, int],
    listens: SSLContext | None = None,
    connects: SSLContext | None = None,
    port: int = 0,
) -> tuple[asyncio.Server, int]:
    """A server at `host`, at that port (0: any), whose connections go on to `target`; and its port. With TLS at the end
    that has a context."""

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*target, ssl=connects, server_hostname="" if connects else None)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copied(reader, there[1]), _copied(there[0], writer))

    server = await asyncio.start_server(passed, host, port, ssl=listens)
    return server, int(server.sockets[0].getsockname()[1])


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
