"""Our own worker as it is started to be measured: no cluster, no operator, otherwise the product.

Run as a module: our client sends one job for the handler that is named, as the peers' clients do.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Literal

from benchmarks.worker.broker import Broker, QueueType, Vhost
from benchmarks.worker.diary import DIARY_ENV, Diary
from benchmarks.worker.errors import NotBuiltYet
from benchmarks.worker.processes import Session, session
from benchmarks.worker.wire import PAYLOAD
from longshore import Client
from longshore.contract.config import WorkerConfig
from longshore.contract.features import features_of
from longshore.contract.names import (
    AMQP_URL_ENV,
    DEAD_EXCHANGE,
    JOBS_EXCHANGE,
    REPORTS_EXCHANGE,
    WORKER_CONFIG_ENV,
    dead_queue_name,
    ending_with,
)
from longshore.contract.retry import RetryPolicy
from longshore.contract.timing import derive

ROOT = Path(__file__).parents[2]
QUEUE = "bench.jobs"
COMMAND = (sys.executable, "-m", "longshore.worker")
HARD_LIMIT = 600.0
START_DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A worker that consumes, and what is needed to give it jobs and watch it."""

    session: Session
    vhost: Vhost
    client: Client
    diary: Diary
    consuming_after: float
    """Seconds from the start of its process until the broker saw its consumer."""


def config(
    *,
    slots: int = 2,
    prefetch: int | Literal["auto"] = 2,
    hard_limit: float = HARD_LIMIT,
    soft_limit: float | None = None,
    heartbeat: float | None = None,
    log_successes: bool = True,
) -> WorkerConfig:
    """What the operator would render for these numbers. One attempt: a killed job ends at once.

    Raises NotBuiltYet when the worker cannot be told to be silent about successes.
    """
    settings: dict[str, Any] = {} if heartbeat is None else {"heartbeat": heartbeat}
    if not log_successes:
        if "log_successes" not in WorkerConfig.__struct_fields__:
            raise NotBuiltYet("the worker's configuration has no `log_successes` yet")
        settings["log_successes"] = False
    timeouts = derive(
        hard_limit=hard_limit,
        soft_limit=soft_limit,
        kill_grace=5.0,
        slots=slots,
        prefetch=None if prefetch == "auto" else prefetch,
        requeue_on_termination=False,
        features=features_of("4.3"),
    )
    return WorkerConfig(
        queue=QUEUE,
        handlers=("benchmarks.worker.jobs",),
        hard_limit=hard_limit,
        soft_limit=soft_limit,
        ack_timeout=timeouts.ack_timeout,
        slots=slots,
        prefetch=prefetch,
        retry=RetryPolicy(max_attempts=1),
        http_port=0,
        **settings,
    )


def environment(url: str, settings: WorkerConfig) -> dict[str, str]:
    """What the operator puts into a worker's pod."""
    return {AMQP_URL_ENV: url, WORKER_CONFIG_ENV: settings.to_json()}


def declare(vhost: Vhost, *, queue_type: QueueType) -> None:
    """What the operator declares, without the delay ladder: no job here is ever delayed."""
    for exchange in (JOBS_EXCHANGE, DEAD_EXCHANGE, REPORTS_EXCHANGE):
        vhost.channel.exchange_declare(exchange, "topic", durable=True)
    vhost.declare(QUEUE, queue_type)
    vhost.channel.queue_bind(QUEUE, JOBS_EXCHANGE, QUEUE)
    dead = dead_queue_name(QUEUE)
    vhost.declare(dead, QueueType.QUORUM)
    vhost.channel.queue_bind(dead, DEAD_EXCHANGE, ending_with(QUEUE))


@contextmanager
def running(
    broker: Broker, settings: WorkerConfig, *, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Running]:
    """A worker on a quorum queue in a vhost of its own, from the moment it consumes."""
    with broker.vhost() as vhost, TemporaryDirectory() as name, Client(vhost.url) as client:
        declare(vhost, queue_type=QueueType.QUORUM)
        diary = Path(name) / "diary"
        variables = {
            **variables,
            **environment(vhost.url, settings),
            DIARY_ENV: str(diary),
            "PYTHONPATH": str(ROOT),
        }
        log = Path(name) / "log"
        began = time.monotonic()
        with session(COMMAND, environment=variables, folder=ROOT, log=log) as worker:
            vhost.await_consumers(QUEUE, count=1, seconds=START_DEADLINE, alive=worker.check_alive)
            yield Running(
                session=worker,
                vhost=vhost,
                client=client,
                diary=Diary(diary, alive=worker.check_alive),
                consuming_after=time.monotonic() - began,
            )


if __name__ == "__main__":
    with Client(os.environ[AMQP_URL_ENV]) as one:
        one.enqueue(QUEUE, sys.argv[1], payload=PAYLOAD)
