"""A call's time: what a connection can do in it, and what is refused before it is begun."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pika import frame, spec

from longshore import BrokerUnavailable, Client, EnqueueError
from tests.fuzz.broker import FakeBroker

pytestmark = pytest.mark.integration

CONFIRM = 0.05
"""Seconds that the broker takes for one."""


class Slow(FakeBroker):
    """Confirms one job after another, each after a while."""

    def __init__(self) -> None:
        super().__init__(delivers=False)
        self.is_blocked = False
        self._transport: Any = None

    def unblock(self) -> None:
        self.is_blocked = False
        unblocked = frame.Method(0, spec.Connection.Unblocked()).marshal()
        self._loop.call_soon_threadsafe(self._transport.write, unblocked)

    async def _accept(self, reader: Any, writer: Any) -> None:
        self._transport, self._loop = writer.transport, asyncio.get_running_loop()
        await super()._accept(reader, writer)

    def _answers(self, heard: Any, tags: Any) -> Iterator[Any]:
        if isinstance(getattr(heard, "method", None), spec.Basic.Publish):
            time.sleep(CONFIRM)
        yield from super()._answers(heard, tags)
        if self.is_blocked and isinstance(getattr(heard, "method", None), spec.Channel.Open):
            yield frame.Method(0, spec.Connection.Blocked("low on memory"))


@pytest.fixture
def slow() -> Iterator[Slow]:
    broker, serving, loop = Slow(), threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        async with broker.serving():
            serving.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert serving.wait(10)
    yield broker
    loop.call_soon_threadsafe(end.set)
    thread.join(10)
    loop.close()


def test_threads_that_share_a_client_beyond_what_it_can_serve_are_refused_before_they_are_sent(
    slow: Slow,
) -> None:
    ends: Counter[str] = Counter()
    texts: set[str] = set()
    until = time.monotonic() + 3

    with Client(f"amqp://u:p@127.0.0.1:{slow.port}/v", timeout=1) as client:

        def produce() -> None:
            while time.monotonic() < until:
                try:
                    client.enqueue("a.b", "h")
                    ends["stored"] += 1
                except EnqueueError as error:
                    ends[type(error).__name__] += 1
                    texts.add(str(error).rpartition(": ")[2].partition("; ")[2] or str(error))

        # Twice as many as are confirmed within their time.
        threads = [threading.Thread(target=produce) for _ in range(int(2 / CONFIRM))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    # A machine that stops for longer than a margin may cost one connection, but not the next ones.
    assert slow.connections <= 3, ends
    assert ends["ConfirmTimeout"] < slow.connections, ends
    assert "nothing was stored" in texts
    assert ends["stored"] > 10


def test_a_broker_that_takes_no_messages_costs_no_connection(slow: Slow) -> None:
    slow.is_blocked = True
    with Client(f"amqp://u:p@127.0.0.1:{slow.port}/v", timeout=1) as client:
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match="low on memory; nothing was stored"):
                client.enqueue("a.b", "h")
        slow.unblock()
        client.enqueue("a.b", "h")

    assert slow.connections == 1


def test_at_the_end_of_the_interpreter_a_job_is_refused_at_once() -> None:
    """No thread runs any more, and the one that drove the connection has been stopped."""
    program = """
        import sys, time
        from longshore import BrokerUnavailable, Client

        client = Client("amqp://u:p@127.0.0.1:9/v", timeout=20)

        class Last:
            def __del__(self, client=client, error=BrokerUnavailable, now=time.monotonic):
                begun = now()
                try:
                    client.enqueue("a.b", "h")
                except error as refused:
                    print(now() - begun < 5, refused)
                client.close()
                print(now() - begun < 5)

        sys.modules["kept"] = type(sys)("kept")
        sys.modules["kept"].last = Last()
        try:
            client.enqueue("a.b", "h")
        except BrokerUnavailable:
            pass  # and its thread waits for the next one
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    refused, closed = done.stdout.splitlines()
    assert refused.startswith("True job ")
    assert refused.endswith("the interpreter is shutting down; nothing was stored")
    assert closed == "True"
