"""The open connections, so that a fault can cut one at the level of its socket."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

Address = tuple[str, int]
#: How often [s] a closing connection is looked at.
LOOK_S = 0.002


class Wires:
    """Open connections by the client's address."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.Transport] = {}

    async def close(self, client: Address) -> None:
        """Send what is buffered, then end the connection in an orderly way (FIN)."""
        transport = self._transports.get(client)
        if transport is not None:
            transport.close()
            await self._lost(client)

    async def reset(self, client: Address) -> None:
        """End the connection with RST; the client reads "connection reset by peer"."""
        transport = self._transports.get(client)
        if transport is not None:
            linger = struct.pack("ii", 1, 0)
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
            await self._lost(client)

    async def _lost(self, client: Address) -> None:
        # The protocol must know before the application returns, or it sends an error page.
        while client in self._transports:
            await asyncio.sleep(LOOK_S)

    def protocol(self) -> type[asyncio.Protocol]:
        """Return a protocol class for uvicorn that registers its connections here."""
        transports = self._transports

        class RegisteredProtocol(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                if self.client is not None:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    transports.pop(self.client, None)
                super().connection_lost(exc)

        return RegisteredProtocol
