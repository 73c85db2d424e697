"""A RabbitMQ in the development cluster, looked into from outside by its management API."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dev import release
from dev.kube import Kube


@dataclass(frozen=True)
class Management:
    """A management API on a port of loopback, and the vhost that Longshore uses there."""

    port: int
    username: str
    password: str
    vhost: str

    def peek(self, queue: str) -> list[dict[str, Any]]:
        """All messages that are ready in `queue`, left where they are."""
        question = {"count": 10_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        found: list[dict[str, Any]] = self._ask(f"{self._path(queue)}/get", question)
        return found

    def depth(self, queue: str) -> int | None:
        """Messages ready in `queue`, counted now; None when there is no such queue."""
        try:
            # Plain figures may be ten seconds old; with these parameters the queue is asked.
            found = self._ask(f"{self._path(queue)}?disable_stats=true&enable_queue_totals=true")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return int(found["messages_ready"])

    def put(self, *path: str, **body: Any) -> None:
        """Write an object, as its administrator does by hand."""
        self._ask("/".join(quote(part, safe="") for part in path), body, method="PUT")

    def limit_connections(self, vhost: str, most: int | None) -> None:
        """Refuse connections to `vhost` beyond so many; None lifts the limit."""
        path = f"vhost-limits/{quote(vhost, safe='')}/max-connections"
        if most is None:
            self._ask(path, method="DELETE")
        else:
            self._ask(path, {"value": most}, method="PUT")

    def delete_vhost(self, vhost: str) -> None:
        """Delete a vhost with all that is in it."""
        self._ask(f"vhosts/{quote(vhost, safe='')}", method="DELETE")

    def _path(self, queue: str) -> str:
        return f"queues/{quote(self.vhost, safe='')}/{quote(queue, safe='')}"

    def _ask(
        self, path: str, question: dict[str, Any] | None = None, *, method: str | None = None
    ) -> Any:
        secret = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            data=json.dumps(question).encode() if question else None,
            method=method,
            headers={"Authorization": f"Basic {secret}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = answer.read()
            return json.loads(said) if said else None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a RabbitMQ is in the cluster, and the Broker that leads to it."""

    namespace: str
    service: str
    """Also the name of the Secret with its administrator's credentials, and of its StatefulSet."""

    broker: str


TRIAL = Place(namespace=release.NAMESPACE, service=release.BROKER_SERVICE, broker="default")
"""The one that comes with the release."""


@contextmanager
def management(kube: Kube, place: Place = TRIAL) -> Iterator[Management]:
    """A RabbitMQ's management API, reached for as long as the block lasts."""
    data = kube.get("secret", place.service, f"--namespace={place.namespace}")["data"]
    broker = kube.get("broker", place.broker)["spec"]
    target = f"service/{place.service}"
    with kube.forwarded(target, namespace=place.namespace, port=15672) as port:
        yield Management(
            port=port,
            username=base64.b64decode(data["username"]).decode(),
            password=base64.b64decode(data["password"]).decode(),
            vhost=broker["vhost"],
        )
