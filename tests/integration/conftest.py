"""Real brokers: RabbitMQ 4.0 and 4.3, a virtual host of its own for each run of pytest."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from dev import rabbitmq
from dev.private import Private, private
from dev.trio import Trio, trio
from tests.integration import certificates, secret, topology

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "build" / "brokers.json"


@dataclass(frozen=True)
class Broker:
    """One RabbitMQ with a virtual host for us alone, the operator's topology declared in it."""

    series: str
    vhost: str
    amqp: str
    management: str
    ctl: tuple[str, ...]
    channel: BlockingChannel
    worker: str = ""
    """`user:password` that workers connect with: see `secret`."""

    @property
    def nack_is_free(self) -> bool:
        return self.series == "4.3"

    def close_all_connections(self) -> None:
        """As an administrator would; the test's own connection goes too."""
        self.rabbitmqctl("close_all_connections", "--vhost", self.vhost, "test")

    @contextlib.contextmanager
    def ack_timeout(self, queue: str, *, seconds: int) -> Iterator[None]:
        """On 4.3 the consumer says it; before, a policy does, and channels look once a minute."""
        if self.series == "4.3":
            yield
            return
        ctl, policy = self.rabbitmqctl, json.dumps({"consumer-timeout": seconds * 1000})
        ctl("set_policy", "-p", self.vhost, queue, f"^{queue}$", policy)
        # Left so: another test may rely on it at the same time, and a short interval harms none.
        ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
        try:
            yield
        finally:
            ctl("clear_policy", "-p", self.vhost, queue)

    def rabbitmqctl(self, *words: str) -> str:
        done = subprocess.run(
            [*self.ctl, *words], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout


@pytest.fixture(scope="session")
def brokers() -> dict[str, dict[str, Any]]:
    """How to reach them, by series; they are started where they don't run."""
    if not _all_answer():
        subprocess.run([sys.executable, "-m", "dev", "brokers", "up"], cwd=ROOT, check=True)
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())
    return found


@pytest.fixture(scope="session", params=["4.0", "4.3"])
def vhost(request: pytest.FixtureRequest, brokers: dict[str, dict[str, Any]]) -> Iterator[Broker]:
    """A virtual host that no other process of tests sees. Tests keep apart by their queues."""
    with virtual_host(request.param, brokers[request.param]) as vhost:
        yield vhost


@pytest.fixture
def broker(vhost: Broker) -> Iterator[Broker]:
    """RabbitMQ 4.0 and 4.3, with a connection for this test."""
    with connected(vhost) as broker:
        yield broker


@pytest.fixture(scope="session", params=["4.0", "4.3"])
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Private]:
    """A RabbitMQ for tests that would disturb others on a shared one, with alarms for example.

    It speaks TLS as `localhost`, and as nothing else. Its tests run one after another.
    """
    folder = tmp_path_factory.mktemp("tls")
    certificates.make(folder / "made", names="DNS:localhost")
    series = rabbitmq.ALL[request.param]
    with private(series, certificates=folder / "made", scratch=folder) as broker:
        yield broker


@pytest.fixture(scope="session", params=["4.0", "4.3"])
def three(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    """A RabbitMQ of three nodes, for tests that make it whole again."""
    series = [rabbitmq.ALL[request.param]] * 3
    with trio(series, scratch=tmp_path_factory.mktemp("three")) as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all tests of an `own` broker, or of one of `three` nodes, so that each
    series is started once."""
    for item in items:
        for kind in ("own", "three"):
            if isinstance(item, pytest.Function) and kind in item.fixturenames:
                series = item.callspec.params[kind]
                item.add_marker(pytest.mark.xdist_group(f"{kind}-{series}"))


@contextlib.contextmanager
def virtual_host(series: str, record: dict[str, Any]) -> Iterator[Broker]:
    """A new virtual host of the RabbitMQ that a record of brokers.json describes."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    auth = (record["user"], record["password"])
    with httpx.Client(base_url=record["management"], auth=auth, timeout=30) as management:
        management.put(f"/api/vhosts/{name}").raise_for_status()
        try:
            amqp = f"{record['amqp'].rstrip('/')}/{name}"
            connection = _connect(amqp)
            topology.declare_vhost(connection.channel())
            connection.close()
            with secret.user(management, vhost=name) as worker:
                yield Broker(
                    *(series, name, amqp, record["management"], tuple(record["ctl"])),
                    channel=None,
                    worker=worker,
                )
        finally:
            management.delete(f"/api/vhosts/{name}").raise_for_status()


@contextlib.contextmanager
def connected(vhost: Broker) -> Iterator[Broker]:
    """The same with a channel."""
    connection = _connect(vhost.amqp)
    yield Broker(**{**vars(vhost), "channel": connection.channel()})
    with contextlib.suppress(pika.exceptions.AMQPError):  # a test may have had it closed
        connection.close()


def _connect(amqp: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(amqp)
    parameters.heartbeat = 0  # tests wait in ways that answer no heartbeats
    return pika.BlockingConnection(parameters)


def _all_answer() -> bool:
    try:
        records = json.loads(RECORD.read_text())
        for series in ("4.0", "4.3"):
            httpx.get(records[series]["management"], timeout=5).raise_for_status()
    except (OSError, KeyError, ValueError, httpx.HTTPError):
        return False
    return True
