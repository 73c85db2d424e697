from __future__ import annotations

import asyncio
from typing import Any

import pika
import pytest

from longshore.worker.parent import publisher as module
from longshore.worker.parent.outcome import Publication
from longshore.worker.parent.publisher import Publisher
from tests.unit.worker.channels import FakeChannel, FakeConnection


class Silent(FakeChannel):
    def confirm_delivery(self, *_: Any, **__: Any) -> None:
        pass


async def test_a_channel_that_is_given_up_takes_nothing_from_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = FakeConnection()

    async def connect(*_: Any, **__: Any) -> FakeConnection:
        return connection

    monkeypatch.setattr(module.Dial, "connect", connect)
    publisher = Publisher(pika.ConnectionParameters())
    running = asyncio.ensure_future(publisher.run())
    await connection.arrive(is_broken=True)
    monkeypatch.setattr("tests.unit.worker.channels.FakeChannel", Silent)
    silent = await connection.arrive()
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if not silent.is_open:
            break
    assert not silent.is_open
    monkeypatch.undo()
    await connection.arrive()
    publication = Publication(exchange="e", key="k", properties={}, body=b"")
    publishing = asyncio.ensure_future(publisher.publish(publication, wanted=lambda: True))
    await asyncio.sleep(0.01)
    silent.end(silent, RuntimeError("closed at last"))
    confirm = pika.frame.Method(3, pika.spec.Basic.Ack(delivery_tag=1))
    assert publisher._lane
    publisher._lane._on_confirm(confirm)
    assert await asyncio.wait_for(publishing, 0.1)
    assert not running.done()
    running.cancel()
