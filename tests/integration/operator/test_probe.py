"""A worker is asked why it is not ready, by the operator's own client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from longshore.worker.parent.telemetry.health import Health
from longshore_operator.adapters.kubernetes.probe import MOST, ask
from longshore_operator.app.scaling.warnings import Answer


@asynccontextmanager
async def worker(*, is_ready: bool = False, trouble: str = "") -> AsyncIterator[int]:
    """A worker's own health endpoint; its port."""
    health = Health(is_ready=lambda: is_ready, metrics=lambda: b"", trouble=lambda: trouble)
    port = await health.start(0)
    try:
        yield port
    finally:
        await health.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_worker_says_why_it_does_not_consume(address: str) -> None:
    async with worker(trouble="RabbitMQ at rabbit:5672:\nconnection limit is reached") as port:
        answer = await ask(address, port=port)

    assert answer == Answer(False, "RabbitMQ at rabbit:5672: connection limit is reached")


async def test_a_worker_that_starts_has_nothing_to_say() -> None:
    async with worker() as port:
        assert await ask("127.0.0.1", port=port) == Answer(False, "")


async def test_a_worker_that_consumes_is_ready() -> None:
    async with worker(is_ready=True) as port:
        assert await ask("127.0.0.1", port=port) == Answer(True, "")


Reply = Callable[[asyncio.StreamWriter], None]


@asynccontextmanager
async def stranger(reply: Reply) -> AsyncIterator[int]:
    """Whatever a tenant's image answers in the worker's place."""

    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        reply(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def _redirect(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n")
    writer.write(b"Content-Length: 0\r\n\r\n")


def _flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 100000000\r\n\r\ntrouble: ")
    writer.write(b"x" * 100 * MOST)


def _nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff\x00" * 100)
    writer.close()


def _silence(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 No\r\n")


@pytest.mark.parametrize("reply", [_redirect, _flood, _nonsense, _silence])
async def test_what_answers_in_a_workers_place_costs_little_and_leads_nowhere(
    reply: Reply,
) -> None:
    async with stranger(reply) as port, asyncio.timeout(5):
        answer = await ask("127.0.0.1", port=port)

    assert answer is None or (not answer.is_ready and len(answer.trouble) < MOST)


async def test_nobody_who_listens_is_no_answer() -> None:
    async with worker() as port:
        pass

    assert await ask("127.0.0.1", port=port) is None
