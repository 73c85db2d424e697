"""A namespace as a team would have it: handlers, TaskQueues, producers."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from dev.management import TRIAL, Place, management
from longshore import Client
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV, dead_queue_name

HANDLERS = (Path(__file__).parent / "jobs.py").read_text()


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One namespace; every name below is in it."""

    kube: Kube
    namespace: str
    image: str
    place: Place = TRIAL
    """The RabbitMQ that its TaskQueues are on."""

    def create(self) -> None:
        CREATED.append(self)
        self.kube.kubectl("create", "namespace", self.namespace)
        self.configmap("handlers", {"jobs.py": HANDLERS})

    def delete(self, *, wait: bool = True) -> None:
        words = ("--ignore-not-found", f"--wait={str(wait).lower()}", "--timeout=150s")
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
            "broker": {"name": self.place.broker},
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
        found: dict[str, Any] = json.loads(self.kube.kubectl(*words, given=manifest))
        return found

    def status(self, name: str = "work") -> dict[str, Any]:
        found = self.kube.get("taskqueue", name, f"--namespace={self.namespace}")
        status: dict[str, Any] = found.get("status", {})
        return status

    def jobs(self, name: str = "work") -> dict[str, int]:
        """Numbers of jobs in a TaskQueue's status; what is unknown is absent."""
        jobs: dict[str, int] = self.status(name).get("jobs", {})
        return jobs

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

    def declared(self, name: str = "work", **changes: Any) -> None:
        """Apply it, and wait until this very spec stands in RabbitMQ."""
        self.apply(name, **changes)
        self.wait_until_declared(name)

    def wait_until_declared(self, *names: str) -> None:
        def look() -> bool:
            found = self.kube.get("taskqueues", f"--namespace={self.namespace}")["items"]
            done = {
                each["metadata"]["name"]
                for each in found
                for condition in each.get("status", {}).get("conditions", [])
                if condition["type"] == "QueueDeclared"
                and condition["status"] == "True"
                and condition["observedGeneration"] == each["metadata"]["generation"]
            }
            return done >= set(names)

        wait_for(f"{', '.join(names)} declared", look, seconds=60)

    def events(self, reason: str, *, namespace: str | None = None) -> list[str]:
        """Messages of events with this reason; the Broker's own are in namespace `default`."""
        where = f"--namespace={namespace or self.namespace}"
        found = self.kube.get("events", where, f"--field-selector=reason={reason}")["items"]
        return [event["message"] for event in found]

    def remove(self, *names: str) -> None:
        """Delete TaskQueues and wait until they are gone."""
        self.kube.kubectl("delete", "tq", *names, f"--namespace={self.namespace}", "--timeout=150s")

    def replicas(self, name: str = "work") -> int:
        deployment = self.kube.get("deployment", f"{name}-worker", f"--namespace={self.namespace}")
        return int(deployment["spec"]["replicas"])

    def pods(self, name: str = "work") -> list[dict[str, Any]]:
        selector = f"--selector=longshore.dev/task-queue={name}"
        found = self.kube.get("pods", f"--namespace={self.namespace}", selector)
        pods: list[dict[str, Any]] = found["items"]
        return pods

    def tell(self, *pods: str) -> None:
        """End what `hold_until_told` holds in these pods, now and from now on."""
        for pod in pods:
            where = ("exec", pod, f"--namespace={self.namespace}", "--container=worker")
            self.kube.kubectl(*where, "--", "touch", "/tmp/told")

    def secret(self, name: str) -> dict[str, str]:
        data = self.kube.get("secret", name, f"--namespace={self.namespace}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def credentials(self, name: str = "work", *, role: str = "producer") -> dict[str, str]:
        """The Secret with which a role's own user connects, once it is there."""

        def look() -> dict[str, str] | None:
            try:
                return self.secret(f"{name}-{role}")
            except CommandFailed:
                return None

        return wait_for(f"Secret {name}-{role}", look, seconds=30)

    @contextmanager
    def producer_url(self, name: str = "work") -> Iterator[str]:
        """The producer's own credentials, leading to RabbitMQ from outside of the cluster."""
        with self.outside(self.credentials(name)[AMQP_URL_ENV]) as url:
            yield url

    @contextmanager
    def outside_of_cluster(self) -> Iterator[Callable[[str], str]]:
        """Makes of any address of RabbitMQ in the cluster one that leads there from outside."""
        target = f"service/{self.place.service}"
        with self.kube.forwarded(target, namespace=self.place.namespace, port=5672) as local:

            def outside(address: str) -> str:
                url = urlsplit(address)
                place = f"{url.username}:{url.password}@127.0.0.1:{local}"
                return urlunsplit(url._replace(netloc=place))

            yield outside

    @contextmanager
    def outside(self, address: str) -> Iterator[str]:
        """An address of RabbitMQ in the cluster, leading there by a port of loopback."""
        url = urlsplit(address)
        port = url.port or 5672
        target = f"service/{self.place.service}"
        with self.kube.forwarded(target, namespace=self.place.namespace, port=port) as local:
            place = f"{url.username}:{url.password}@127.0.0.1:{local}"
            yield urlunsplit(url._replace(netloc=place))

    @contextmanager
    def client(self, name: str = "work") -> Iterator[Client]:
        authority = self.credentials(name).get(AMQP_CA_ENV)
        with self.producer_url(name) as url, Client(url, authority=authority) as client:
            yield client

    def queue(self, name: str = "work") -> str:
        return f"{self.namespace}.{name}"

    def dead_letters(self, name: str = "work") -> list[dict[str, Any]]:
        """Dead letters of a TaskQueue, left where they are, as the management API shows them."""
        with management(self.kube, self.place) as broker:
            return broker.peek(dead_queue_name(self.queue(name)))

    def depth(self, name: str = "work") -> int | None:
        """Jobs ready in a TaskQueue's queue; None when there is no queue."""
        with management(self.kube, self.place) as broker:
            return broker.depth(self.queue(name))


CREATED: list[Tenant] = []
"""All that this process has created."""
