"""A virtual host of its own for each test, with the topology that the operator would declare."""

from __future__ import annotations

import json
import logging
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import pika
import pytest

from dev.private import Private
from longshore import Client
from longshore.contract import delays, names
from tests.integration import secret

BROKERS = Path(__file__).parents[3] / "build" / "brokers.json"
QUEUE = "demo.render"


@dataclass(frozen=True)
class Vhost:
    """One RabbitMQ, seen as the administrator of one virtual host."""

    name: str
    amqp: str
    management: httpx.Client
    ctl: list[str]

    def get(self) -> tuple[pika.BasicProperties, bytes] | None:
        """The next job of the queue, acknowledged."""
        with pika.BlockingConnection(pika.URLParameters(self.amqp)) as connection:
            _, properties, body = connection.channel().basic_get(QUEUE, auto_ack=True)
            return None if properties is None else (properties, body)

    def declare(self, **arguments: object) -> None:
        """Exchanges and queue for jobs, the queue with `arguments`."""
        with pika.BlockingConnection(pika.URLParameters(self.amqp)) as connection:
            channel = connection.channel()
            channel.queue_declare(
                QUEUE, durable=True, arguments={"x-queue-type": "quorum", **arguments}
            )
            for exchange in (names.JOBS_EXCHANGE, names.DUE_EXCHANGE):
                channel.exchange_declare(exchange, "topic", durable=True)
                channel.queue_bind(QUEUE, exchange, names.ending_with(QUEUE))

    def declare_ladder(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.amqp)) as connection:
            channel = connection.channel()
            for level in range(delays.LEVELS):
                channel.exchange_declare(delays.level_name(level), "topic", durable=True)
            for level in range(delays.LEVELS):
                name, following = delays.level_name(level), delays.next_exchange(level)
                channel.queue_declare(
                    name,
                    durable=True,
                    arguments={
                        "x-queue-type": "quorum",
                        "x-message-ttl": 1000 * 2**level,
                        "x-dead-letter-exchange": following,
                        "x-dead-letter-strategy": "at-least-once",
                        "x-overflow": "reject-publish",
                    },
                )
                channel.queue_bind(name, name, delays.binding_key(level, bit=1))
                channel.exchange_bind(following, name, delays.binding_key(level, bit=0))

    def connections(self) -> list[str]:
        """Names of the open connections, as the management API knows them (late by seconds)."""
        answer = self.management.get(f"/api/vhosts/{quote(self.name)}/connections")
        return [each["name"] for each in answer.raise_for_status().json()]

    def close_connections(self) -> None:
        self.run_ctl("close_all_connections", "--vhost", self.name, "test")

    def run_ctl(self, *words: str) -> None:
        subprocess.run([*self.ctl, *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(params=["4.0", "4.3"])
def vhost(request: pytest.FixtureRequest) -> Iterator[Vhost]:
    with administered(json.loads(BROKERS.read_text())[request.param]) as vhost:
        yield vhost


@pytest.fixture
def own_vhost(own: Private) -> Iterator[Vhost]:
    """On a broker of its own: an alarm is the whole broker's."""
    with administered(own.record) as vhost:
        yield vhost


@contextmanager
def administered(record: dict[str, Any]) -> Iterator[Vhost]:
    """A new virtual host of the RabbitMQ that a record of brokers.json describes."""
    name = f"client-{uuid.uuid4().hex[:8]}"
    auth = (record["user"], record["password"])
    with httpx.Client(base_url=record["management"], auth=auth, timeout=30) as management:
        management.put(f"/api/vhosts/{name}").raise_for_status()
        management.put(
            f"/api/permissions/{name}/{record['user']}",
            json={"configure": ".*", "write": ".*", "read": ".*"},
        ).raise_for_status()
        amqp = urlunsplit(urlsplit(record["amqp"])._replace(path=f"/{name}"))
        with secret.user(management, vhost=name) as who:
            amqp = secret.connecting_as(who, amqp)
            yield Vhost(name=name, amqp=amqp, management=management, ctl=record["ctl"])
        management.delete(f"/api/vhosts/{name}").raise_for_status()


@pytest.fixture
def connect(vhost: Vhost, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Client]]:
    """Makes Clients that are closed after the test. Nothing that is logged may hold a password."""
    caplog.set_level(logging.DEBUG, "pika")
    clients: list[Client] = []

    def make(url: str | None = None, *, timeout: float = 10) -> Client:
        clients.append(Client(url or vhost.amqp, timeout=timeout))
        return clients[-1]

    yield make
    for each in clients:
        each.close()
    said = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert not secret.leaks({"log": said})
