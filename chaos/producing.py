"""Numbered jobs of every kind, at a steady rate, each with RabbitMQ's confirm on record."""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pika
import pika.exceptions

from chaos.history import Enqueued, line
from chaos.kinds import KINDS, Queue, handler_of
from chaos.stage import NAMESPACE, Stage
from longshore import Client, EnqueueError
from longshore.contract.names import JOBS_EXCHANGE, queue_name

TIMEOUT = 5.0
"""Seconds for one enqueue; a job that was not confirmed by then is nobody's promise."""

_KINDS = list(KINDS)
_WEIGHTS = [kind.weight for kind in KINDS.values()]


@dataclass(kw_only=True)
class Producer:
    """Enqueues until it is told to stop. What it does is decided by `seed`, but for its timing."""

    stage: Stage
    seed: int
    rate: float
    """Jobs a second."""

    path: Path
    asked: int = 0
    confirmed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        urls = {name: self.stage.producer_url(name) for name in Queue}
        clients = {name: Client(url, timeout=TIMEOUT) for name, url in urls.items()}
        foreign = _Foreign(urls[Queue.QUICK])
        self._thread = threading.Thread(target=self._run, args=(clients, foreign))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self, clients: dict[Queue, Client], foreign: _Foreign) -> None:
        dice = random.Random(self.seed)
        due = time.monotonic()
        with self.path.open("a", buffering=1) as file:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                # After a pause there is no rush: it would hide how work resumes.
                due = max(due + 1 / self.rate, time.monotonic())
                name = dice.choices(_KINDS, _WEIGHTS)[0]
                delay = dice.uniform(*KINDS[name].delay)
                self.asked += 1
                if told := self._enqueue(self.asked, name, delay, clients, foreign):
                    self.confirmed += 1
                    file.write(line(told))
        for client in clients.values():
            client.close()
        foreign.close()

    def _enqueue(
        self,
        number: int,
        name: str,
        delay: float,
        clients: dict[Queue, Client],
        foreign: _Foreign,
    ) -> Enqueued | None:
        kind = KINDS[name]
        asked_at = time.monotonic()
        try:
            if kind.is_foreign:
                foreign.publish(handler_of(name), number=number)
            else:
                clients[kind.queue].enqueue(
                    queue_name(namespace=NAMESPACE, name=kind.queue),
                    handler_of(name),
                    number=number,
                    delay=delay,
                    priority=kind.priority,
                )
        except (EnqueueError, pika.exceptions.AMQPError, OSError):
            return None
        return Enqueued(
            number=number,
            kind=name,
            queue=kind.queue,
            asked_at=asked_at,
            at=time.monotonic(),
            delay=delay,
        )


class _Foreign:
    """A producer without our client: it gives no id, no attempt and no time."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.socket_timeout = self._parameters.stack_timeout = TIMEOUT
        self._parameters.blocked_connection_timeout = TIMEOUT
        self._connection: pika.BlockingConnection | None = None

    def publish(self, handler: str, *, number: int) -> None:
        """Returns once the job is confirmed. Raises pika's errors and OSError."""
        try:
            if self._connection is None:
                self._connection = pika.BlockingConnection(self._parameters)
                self._channel = self._connection.channel()
                self._channel.confirm_delivery()
            self._channel.basic_publish(
                JOBS_EXCHANGE,
                queue_name(namespace=NAMESPACE, name=Queue.QUICK),
                json.dumps({"number": number}).encode(),
                pika.BasicProperties(
                    type=handler, content_type="application/json", delivery_mode=2
                ),
                mandatory=True,
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(Exception):
                connection.close()
