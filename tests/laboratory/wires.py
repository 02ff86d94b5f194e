"""The open connections, so that a fault can cut one at the level of its socket."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

Address = tuple[str, int]


class Wires:
    """Open connections by the client's address."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.Transport] = {}

    def close(self, client: Address) -> None:
        """Send what is buffered, then end the connection in an orderly way (FIN)."""
        self._transports[client].close()

    def reset(self, client: Address) -> None:
        """End the connection with RST; the client reads "connection reset by peer"."""
        transport = self._transports[client]
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

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
