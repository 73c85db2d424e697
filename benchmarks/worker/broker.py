"""The RabbitMQ that everything is measured on, as `python3 -m dev brokers up` noted it."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pika

from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.processes import listener

RECORD = Path("build/brokers.json")
_PATIENCE = 0.002


class QueueType(StrEnum):
    """Kinds of RabbitMQ queue that are compared."""

    CLASSIC = "classic"
    QUORUM = "quorum"

    @property
    def arguments(self) -> dict[str, str]:
        """The only arguments any measured queue has. What else a product would put there (a
        dead-letter exchange) costs a drain nothing, but would make the queues differ."""
        return {"x-queue-type": str(self)}


@dataclass(frozen=True, slots=True)
class Depth:
    """What a passive declare tells; 0.17 ms, at most 40 ms old."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One running RabbitMQ, on loopback."""

    version: str
    amqp: str
    management: str
    user: str
    password: str

    @classmethod
    def from_record(cls, series: str, *, root: Path) -> Self:
        """The running broker of this series, e.g. `4.3`. Raises BenchmarkError without one."""
        record = root / RECORD
        brokers = json.loads(record.read_text()) if record.exists() else {}
        if series not in brokers:
            raise BenchmarkError(
                f"no RabbitMQ {series} in {RECORD}: start it with `python3 -m dev brokers up`"
            )
        fields = brokers[series]
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})

    @property
    def pid(self) -> int | None:
        """Its Erlang machine; None if that runs where we cannot see it."""
        return listener(urlsplit(self.amqp).port or 5672, command="beam.smp")

    @contextmanager
    def vhost(self) -> Iterator["Vhost"]:
        """A vhost for one measurement; deleted with all that is in it."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        self._ask("PUT", f"vhosts/{name}")
        try:
            self._ask(
                "PUT",
                f"permissions/{name}/{self.user}",
                {"configure": ".*", "write": ".*", "read": ".*"},
            )
            with Vhost(self.amqp.rstrip("/") + f"/{name}", broker=self, name=name) as vhost:
                yield vhost
        finally:
            self._ask("DELETE", f"vhosts/{name}")
            users = [each["name"] for each in self._ask("GET", "users")]
            ours = [user for user in users if user.startswith(f"{name}.")]
            self._ask("POST", "users/bulk-delete", {"users": ours})

    def connections(self, vhost: str, *, named: str) -> set[str]:
        """Open connections of a vhost that call themselves `named…`."""
        found = self._ask("GET", f"vhosts/{vhost}/connections")
        return {
            each["name"] for each in found if each.get("user_provided_name", "").startswith(named)
        }

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        # A proxy of the machine must not come between us and our own loopback.
        with httpx.Client(trust_env=False, auth=(self.user, self.password), timeout=60) as client:
            answer = client.request(method, f"{self.management}/api/{path}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None


class Vhost:
    """A vhost and one connection to it, for the harness."""

    def __init__(self, url: str, *, broker: Broker, name: str) -> None:
        self.url = url
        self.broker = broker
        self.name = name
        # No heartbeat: the harness is busy elsewhere for longer than that.
        parameters = pika.URLParameters(f"{url}?heartbeat=0")
        self._connection = pika.BlockingConnection(parameters)
        self.channel = self._connection.channel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.is_open:
            self._connection.close()

    def declare(self, queue: str, queue_type: QueueType) -> None:
        """A durable queue with the arguments that all contenders share."""
        self.channel.queue_declare(queue, durable=True, arguments=queue_type.arguments)

    def depth(self, queue: str) -> Depth:
        """How many jobs are ready in `queue` now, and how many consumers it has."""
        method = self.channel.queue_declare(queue, passive=True).method
        return Depth(ready=method.message_count, consumers=method.consumer_count)

    def await_consumers(
        self, queue: str, *, count: int, seconds: float, alive: Callable[[], None] = lambda: None
    ) -> None:
        """Return when the queue has exactly so many. Raises TimeoutError, or as `alive` does."""
        deadline = time.monotonic() + seconds
        while (found := self.depth(queue).consumers) != count:
            alive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{queue} has {found} consumers instead of {count}")
            time.sleep(_PATIENCE)
