"""A proxy on loopback before RabbitMQ's management API that counts what is written."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_REQUEST = re.compile(rb"^(GET|PUT|POST|DELETE) /api/([a-z-]+)", re.MULTILINE)


@dataclass(slots=True)
class Counted:
    """Requests that passed, like `PUT queues`."""

    port: int = 0
    requests: Counter[str] = field(default_factory=Counter)

    def writes(self) -> Counter[str]:
        """All of them but readings."""
        return Counter({k: n for k, n in self.requests.items() if not k.startswith("GET ")})


@contextmanager
def counting(port: int) -> Iterator[Counted]:
    """Pass everything on to `port` of loopback, from a thread of its own."""
    counted, loop, bound = Counted(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, far_writer, counted))
                group.create_task(_pass(far_reader, writer, None))

        server = await asyncio.start_server(join, "127.0.0.1", 0)
        counted.port = server.sockets[0].getsockname()[1]
        bound.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        task = loop.create_task(serve())
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    bound.wait()
    try:
        yield counted
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join()
        loop.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Counted | None
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            if counted:
                # A client of HTTP/1.1 that does not pipeline: each request begins a piece.
                for method, kind in _REQUEST.findall(data):
                    counted.requests[f"{method.decode()} {kind.decode()}"] += 1
            writer.write(data)
            await writer.drain()
    writer.close()
