"""What a worker says to the operator and hears from it, with the worker's own credentials."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import msgspec
import pika

from longshore.contract.names import REPLY_TO, REPORTS_EXCHANGE
from longshore.contract.orders import Order
from longshore.contract.reports import WorkerReport
from longshore_operator.app.watched.objects import TaskQueueObject
from tests.integration.operator.task_queues import Tenants

POD = "pod"


def report_of(worker: str = POD, **parts: object) -> bytes:
    """A report's body."""
    values = {
        "queue": "media.transcode",
        "worker": worker,
        "started_at": 0,
        "slots": 1,
        "busy": 1,
        "held": 2,
    }
    return msgspec.json.encode(msgspec.convert(values | parts, WorkerReport))


class Line:
    """A worker's connection. It takes orders at its own address, whatever its reports say."""

    def __init__(self, tenants: Tenants, queue: TaskQueueObject) -> None:
        parameters = pika.URLParameters(tenants.url(queue, "worker"))
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._queue = queue.owner.queue
        self._bodies: list[bytes] = []
        self._channel.basic_consume(REPLY_TO, self._take, auto_ack=True)
        self._channel.confirm_delivery()

    def report(self, body: bytes, *, reply_to: str | None = REPLY_TO) -> None:
        self.publish(body, pika.BasicProperties(reply_to=reply_to))

    def publish(self, body: bytes, properties: pika.BasicProperties) -> None:
        self._channel.basic_publish(REPORTS_EXCHANGE, self._queue, body, properties)

    async def orders(self, *, within: float = 0.0) -> list[Order]:
        """What has come, after so many seconds at most."""
        end = time.monotonic() + within
        while True:
            await asyncio.sleep(0.02)  # the operator's own connection is in this loop
            self._connection.process_data_events(0.02)
            if self._bodies or time.monotonic() >= end:
                return [msgspec.json.decode(body, type=Order) for body in self._bodies]

    def _take(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        self._bodies.append(body)

    def close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
