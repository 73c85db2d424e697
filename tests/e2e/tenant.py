"""A namespace as a team would have it: handlers, TaskQueues, producers."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from dev import release
from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from dev.management import management
from longshore import Client
from longshore.contract.names import dead_queue_name

HANDLERS = (Path(__file__).parent / "jobs.py").read_text()


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One namespace; every name below is in it."""

    kube: Kube
    namespace: str
    image: str

    def create(self) -> None:
        self.delete()
        self.kube.kubectl("create", "namespace", self.namespace)
        self.configmap("handlers", {"jobs.py": HANDLERS})

    def delete(self, *, wait: bool = True) -> None:
        words = ("--ignore-not-found", f"--wait={str(wait).lower()}", "--timeout=90s")
        self.kube.kubectl("delete", "namespace", self.namespace, *words)

    def configmap(self, name: str, files: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.kube.apply(
            json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}
            )
        )

    def manifest(self, name: str = "work", **changes: Any) -> str:
        """A TaskQueue with quick settings; `changes` go into its spec by section."""
        spec: dict[str, Any] = {
            "timeLimit": {"hard": "60s"},
            "retry": {"initialDelay": "1s", "maxAttempts": 2},
            "worker": {
                "image": self.image,
                "handlers": ["jobs"],
                "podTemplate": {
                    "spec": {
                        "volumes": [{"name": "handlers", "configMap": {"name": "handlers"}}],
                        "containers": [
                            {
                                "name": "worker",
                                "volumeMounts": [{"name": "handlers", "mountPath": "/app"}],
                            }
                        ],
                    }
                },
            },
            "scaling": {"min": 0, "max": 3, "policy": "backlog", "idleGrace": "2s"},
        }
        for section, change in changes.items():
            here = spec.get(section)
            spec[section] = {**here, **change} if isinstance(here, dict) else change
        return yaml.safe_dump(
            {
                "apiVersion": "longshore.dev/v1alpha1",
                "kind": "TaskQueue",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec,
            }
        )

    def apply(self, name: str = "work", **changes: Any) -> None:
        self.kube.apply(self.manifest(name, **changes))

    def dry_run(self, manifest: str) -> dict[str, Any]:
        """The object as the API server would store it. Raises CommandFailed when it refuses."""
        words = ("apply", "--dry-run=server", "--output=json", "--filename=-")
        return json.loads(self.kube.kubectl(*words, given=manifest))

    def status(self, name: str = "work") -> dict[str, Any]:
        return self.kube.get("taskqueue", name, f"--namespace={self.namespace}").get("status", {})

    def jobs(self, name: str = "work") -> dict[str, int]:
        """Numbers of jobs in a TaskQueue's status; what is unknown is absent."""
        return self.status(name).get("jobs", {})

    def condition(self, type_: str, name: str = "work") -> dict[str, Any]:
        """One condition of a TaskQueue; empty while it has none."""
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    def wait_for_condition(
        self, type_: str, status: str, *, reason: str | None = None, seconds: float = 60
    ) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.condition(type_)
            wanted = found.get("status") == status and reason in (None, found.get("reason"))
            return found if wanted else None

        return wait_for(f"{type_}={status} {reason or ''}", look, seconds=seconds)

    def replicas(self, name: str = "work") -> int:
        deployment = self.kube.get("deployment", f"{name}-worker", f"--namespace={self.namespace}")
        return deployment["spec"]["replicas"]

    def pods(self, name: str = "work") -> list[dict[str, Any]]:
        selector = f"--selector=longshore.dev/task-queue={name}"
        return self.kube.get("pods", f"--namespace={self.namespace}", selector)["items"]

    def secret(self, name: str) -> dict[str, str]:
        data = self.kube.get("secret", name, f"--namespace={self.namespace}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    @contextmanager
    def producer_url(self, name: str = "work") -> Iterator[str]:
        """The producer's own credentials, leading to RabbitMQ from outside of the cluster."""

        def look() -> str | None:
            try:
                return self.secret(f"{name}-producer")["LONGSHORE_AMQP_URL"]
            except CommandFailed:
                return None

        url = urlsplit(wait_for(f"Secret {name}-producer", look, seconds=30))
        with self.kube.forwarded(
            f"service/{release.BROKER_SERVICE}", namespace=release.NAMESPACE, port=5672
        ) as port:
            place = f"{url.username}:{url.password}@127.0.0.1:{port}"
            yield urlunsplit(url._replace(netloc=place))

    @contextmanager
    def client(self, name: str = "work") -> Iterator[Client]:
        with self.producer_url(name) as url, Client(url) as client:
            yield client

    def queue(self, name: str = "work") -> str:
        return f"{self.namespace}.{name}"

    def dead_letters(self, name: str = "work") -> list[dict[str, Any]]:
        """Dead letters of a TaskQueue, left where they are, as the management API shows them."""
        with management(self.kube) as broker:
            return broker.peek(dead_queue_name(self.queue(name)))

    def depth(self, name: str = "work") -> int | None:
        """Jobs ready in a TaskQueue's queue; None when there is no queue."""
        with management(self.kube) as broker:
            return broker.depth(self.queue(name))
