"""Serves `/healthz`, `/readyz` and `/metrics` with a minimum of HTTP for kubelet and Prometheus."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from longshore.contract.reports import not_consuming

REQUEST_TIMEOUT = 5.0
"""Seconds for one request, after which a silent client is disconnected."""

MAX_REQUEST = 8192

MAX_CONNECTIONS = 32
"""Simultaneous connections. Anybody may connect, and each connection takes a descriptor of the
worker. One more disconnects the oldest, so that a probe among many silent clients is answered."""

ACCEPTED_AT_ONCE = 4
WAITING = 128
"""Connections that the kernel keeps until they are accepted."""


class Health:
    """Answers probes and scrapes. Any answer proves that the event loop is alive."""

    def __init__(
        self,
        *,
        is_ready: Callable[[], bool],
        metrics: Callable[[], bytes],
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        self._is_ready = is_ready
        self._metrics = metrics
        self._trouble = trouble
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, None] = {}
        """Open connections, the oldest first."""

    async def start(self, port: int) -> int:
        """Listen on all addresses; return the port, which the kernel chooses if `port` is 0."""
        # One socket for IPv4 and IPv6: asyncio would open two, which for port 0 get two ports.
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
        # asyncio accepts up to its backlog in each turn of the loop, and a connection takes several
        # turns until it is served or closed. The kernel keeps those that wait.
        self._server = await asyncio.start_server(
            self._serve, sock=listener, limit=MAX_REQUEST, backlog=ACCEPTED_AT_ONCE
        )
        listener.listen(WAITING)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        if len(self._open) > MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> bytes:
        path = line.split(b" ")[1].split(b"?")[0] if line.count(b" ") == 2 else b""
        match path:
            case b"/healthz":
                return _response("200 OK", b"alive\n")
            case b"/readyz" if self._is_ready():
                return _response("200 OK", b"consuming\n")
            case b"/readyz":
                return _response("503 Service Unavailable", not_consuming(self._trouble()))
            case b"/metrics":
                return _response("200 OK", self._metrics())
            case _:
                return _response("404 Not Found", b"/healthz, /readyz or /metrics\n")


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\n"
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
