"""Async clients that live longer than a job, as docs/handlers.md describes them."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration

CLIENTS = """
import asyncio, threading
from longshore import handler
from jobs import note

kept = {}

@handler(max_attempts=1)
async def streams(diary: str, port: int) -> None:
    if not kept:
        kept["lock"] = asyncio.Lock()
        kept["reader"], kept["writer"] = await asyncio.open_connection("127.0.0.1", port)
    async with kept["lock"]:
        kept["writer"].write(b"hello\\n")
        note(diary, (await kept["reader"].readline()).decode().strip())


class Client:
    \"\"\"One with a task of its own, which reads.\"\"\"

    async def ask(self, port: int) -> str:
        if not hasattr(self, "task"):
            reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
            self.answers = asyncio.Queue()
            self.task = asyncio.create_task(self.read(reader))
        self.writer.write(b"hello\\n")
        return (await self.answers.get()).decode().strip()

    async def read(self, reader):
        while line := await reader.readline():
            self.answers.put_nowait(line)


client, loop = Client(), None

@handler(max_attempts=1)
async def thread(diary: str, port: int) -> None:
    global loop
    if loop is None:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
    asked = asyncio.run_coroutine_threadsafe(client.ask(port), loop)
    note(diary, await asyncio.wrap_future(asked))
"""


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("handler", ["streams", "thread"])
def test_what_one_job_has_opened_answers_the_next(bench: Bench, port: int, handler: str) -> None:
    (bench.directory / "clients.py").write_text(CLIENTS)
    worker = bench.started(handlers=["clients"])
    for _ in range(3):
        bench.enqueue(handler, diary=bench.diary, port=port)
    worker.wait("job-settled", count=3, outcome="succeeded")
    assert bench.lines() == ["hello"] * 3
    assert worker.stop() == 0
