"""A TCP proxy before RabbitMQ, which can be slow: the kernel here has no `netem`.

A process of its own, so that nothing the nemesis does holds up a byte. The delay, in ms, is read
from a file for each piece of data.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

READ = 65_536


async def serve(*, host: str, port: int, target: tuple[str, int], delay: Path) -> None:
    """Pass connections on until cancelled."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            _pass_on(reader, far_writer, delay), _pass_on(far_reader, writer, delay)
        )

    server = await asyncio.start_server(accept, host, port)
    async with server:
        await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Path) -> None:
    # An end or an error of one side is passed on as well.
    with suppress(OSError):
        while data := await reader.read(READ):
            await asyncio.sleep(_seconds(delay))
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


def _seconds(delay: Path) -> float:
    try:
        return float(delay.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    address, number, far, far_port, file = sys.argv[1:]
    asyncio.run(
        serve(host=address, port=int(number), target=(far, int(far_port)), delay=Path(file))
    )
