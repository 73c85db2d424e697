"""What workers report, gathered from RabbitMQ."""

import logging
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.reports import STALE_AFTER, WorkerReport
from longshore_operator.adapters.amqp import Connection

logger = logging.getLogger(__name__)

FORGET_AFTER = 10 * STALE_AFTER
"""Seconds after which a silent worker is forgotten."""


class Fleet:
    """The last report of every worker, with its age."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reports: dict[str, dict[str, tuple[float, WorkerReport]]] = {}

    async def listen(self, connection: Connection) -> None:
        """Take reports from now on."""
        channel = await connection.channel()
        # Exclusive, so classic and gone with the connection: reports are worth nothing later.
        declared = await channel.call(channel.raw.queue_declare, queue="", exclusive=True)
        queue = declared.method.queue
        await channel.call(
            channel.raw.queue_bind, queue=queue, exchange=REPORTS_EXCHANGE, routing_key="#"
        )
        channel.raw.basic_consume(queue=queue, on_message_callback=self._take, auto_ack=True)

    def reports(self, queue: str) -> dict[str, WorkerReport]:
        """Reports of the workers of `queue`, by worker, that are not too old to be true."""
        oldest = self._clock() - STALE_AFTER
        return {
            worker: report
            for worker, (at, report) in self._reports.get(queue, {}).items()
            if at >= oldest
        }

    def forget_silent(self) -> None:
        """Drop workers that have not been heard of for long."""
        oldest = self._clock() - FORGET_AFTER
        for queue, workers in list(self._reports.items()):
            for worker in [name for name, (at, _) in workers.items() if at < oldest]:
                del workers[worker]
            if not workers:
                del self._reports[queue]

    def _take(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        try:
            report = WorkerReport.model_validate_json(body)
        except ValidationError as error:
            logger.warning(
                "report_unreadable", extra={"key": method.routing_key, "why": str(error)}
            )
            return
        # The key is what RabbitMQ checked against the sender's rights; the body may say anything.
        self._reports.setdefault(method.routing_key, {})[report.worker] = (self._clock(), report)
