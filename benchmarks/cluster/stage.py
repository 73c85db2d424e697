"""A namespace with a TaskQueue, producers, and eyes on its Deployment and pods."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from kubernetes import client, config, watch

from benchmarks.cluster.ledger import Run, runs
from dev import paths, release
from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from longshore import Client
from longshore.contract.names import queue_name

HANDLERS = (Path(__file__).parent / "jobs.py").read_text()
NAME = "load"
FOLDER = "/var/tmp/longshore-bench-cluster"


@dataclass
class Seen:
    """What the watches showed; seconds since the epoch."""

    replicas: list[tuple[float, int]] = field(default_factory=list)
    """Each number of workers that was asked for, and when."""

    born: dict[str, float] = field(default_factory=dict)
    asked_to_end: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)

    @property
    def shrunk(self) -> int:
        """Workers taken away."""
        counts = [count for _, count in list(self.replicas)]
        return sum(max(0, one - two) for one, two in pairwise(counts))

    def pod_seconds(self, *, since: float = 0.0) -> float:
        """Of all pods that were born `since` then, until each was gone."""
        now = time.time()
        return sum(
            self.gone.get(pod, now) - born for pod, born in self.born.items() if born >= since
        )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One namespace; jobs write into a folder of the only node."""

    kube: Kube
    namespace: str
    image: str
    seen: Seen

    @property
    def queue(self) -> str:
        return queue_name(namespace=self.namespace, name=NAME)

    def apply(self, *, pod: dict[str, Any] | None = None, **scaling: Any) -> None:
        """Make or change the TaskQueue; `pod` goes into its pods' spec."""
        template = {
            "volumes": [
                {"name": "handlers", "configMap": {"name": "handlers"}},
                {"name": "ledger", "hostPath": {"path": f"{FOLDER}/{self.namespace}"}},
            ],
            "containers": [
                {
                    "name": "worker",
                    "volumeMounts": [
                        {"name": "handlers", "mountPath": "/app"},
                        {"name": "ledger", "mountPath": "/ledger"},
                    ],
                }
            ],
            **(pod or {}),
        }
        self._apply(
            "TaskQueue",
            NAME,
            apiVersion="longshore.dev/v1alpha1",
            spec={
                "timeLimit": {"hard": "60s"},
                "worker": {
                    "image": self.image,
                    "handlers": ["jobs"],
                    "podTemplate": {"spec": template},
                },
                "scaling": scaling,
            },
        )

    def wait_until_declared(self) -> None:
        """The operator has done what the manifest asks, and looks at the queue each second."""
        wait_for("the TaskQueue is declared", lambda: self.condition("ScalingActive") == "True")

    def _apply(self, kind: str, name: str, *, apiVersion: str = "v1", **parts: Any) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": apiVersion, "kind": kind, "metadata": metadata, **parts}
        self.kube.apply(yaml.safe_dump(body))

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A producer outside of the cluster."""
        with self.address() as url, Client(url) as producer:
            yield producer

    @contextmanager
    def address(self) -> Iterator[str]:
        """AMQP with the producer's own credentials, from outside of the cluster."""

        def look() -> str | None:
            try:
                secret = self.kube.get("secret", f"{NAME}-producer", f"-n={self.namespace}")
            except CommandFailed:
                return None
            found: str = secret["data"]["LONGSHORE_AMQP_URL"]
            return found

        encoded = wait_for("the producer's Secret", look)
        with self.kube.forwarded(
            f"service/{release.BROKER_SERVICE}", namespace=release.NAMESPACE, port=5672
        ) as port:
            yield _through(encoded, port=port)

    def replicas(self) -> int:
        """As the watch showed them last."""
        return self.seen.replicas[-1][1] if self.seen.replicas else 0

    def status(self) -> dict[str, Any]:
        found = self.kube.get("taskqueue", NAME, f"-n={self.namespace}")
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, type_: str) -> str:
        """Its status; empty while there is none."""
        conditions = self.status().get("conditions", ())
        return next((each["status"] for each in conditions if each["type"] == type_), "")

    def runs(self) -> tuple[Run, ...]:
        """What the jobs wrote."""
        said = self.kube.kubectl(
            "exec", "ledger", f"-n={self.namespace}", "--", "cat", "/ledger/ledger"
        )
        return runs(said.splitlines())

    def purge(self) -> None:
        """Throw away the jobs that wait."""
        vhost = self.kube.get("broker", "default")["spec"]["vhost"]
        rabbitmq = ("exec", f"{release.BROKER_SERVICE}-0", f"-n={release.NAMESPACE}", "--")
        self.kube.kubectl(*rabbitmq, "rabbitmqctl", "purge_queue", "-p", vhost, self.queue)

    def wait_for_end(self, *, seconds: float) -> None:
        """Until no worker is left, terminating ones included."""
        wait_for(
            "all workers are gone",
            lambda: not self.replicas() and self.seen.born.keys() == self.seen.gone.keys(),
            seconds=seconds,
        )

    def create(self) -> None:
        """Namespace, handlers, and the pod that owns the ledger's folder."""
        self.kube.kubectl(
            "delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s"
        )
        self.kube.kubectl("create", "namespace", self.namespace)
        self._apply("ConfigMap", "handlers", data={"jobs.py": HANDLERS})
        prepare = (
            "import os, time; os.chmod('/ledger', 0o1777); "
            "open('/ledger/ledger', 'w').close(); os.chmod('/ledger/ledger', 0o666); "
            "time.sleep(86400)"
        )
        self._apply(
            "Pod",
            "ledger",
            spec={
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "ledger",
                        "image": self.image,
                        "command": ["python", "-c", prepare],
                        "securityContext": {"runAsUser": 0},
                        "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
                    }
                ],
                "volumes": [
                    {
                        "name": "ledger",
                        "hostPath": {
                            "path": f"{FOLDER}/{self.namespace}",
                            "type": "DirectoryOrCreate",
                        },
                    }
                ],
            },
        )
        self.kube.kubectl(
            "wait", "pod/ledger", f"-n={self.namespace}", "--for=condition=Ready", "--timeout=60s"
        )


@contextmanager
def stage(kube: Kube, name: str) -> Iterator[Stage]:
    """A namespace for one measurement; it goes with the block."""
    images = json.loads(paths.IMAGES_RECORD.read_text())
    made = Stage(kube=kube, namespace=f"bench-{name}", image=images["worker"], seen=Seen())
    made.create()
    end = threading.Event()
    for look in (_watch_deployments, _watch_pods):
        threading.Thread(target=look, args=(made, end), daemon=True).start()
    try:
        yield made
    finally:
        end.set()
        kube.kubectl("delete", "namespace", made.namespace, "--timeout=180s", timeout=200)


def _watch_deployments(stage: Stage, end: threading.Event) -> None:
    api = client.AppsV1Api(config.new_client_from_config(stage.kube.kubeconfig))
    while not end.is_set():
        for event in watch.Watch().stream(
            api.list_namespaced_deployment, stage.namespace, timeout_seconds=3600
        ):
            now, replicas = time.time(), event["object"].spec.replicas
            if not stage.seen.replicas or stage.seen.replicas[-1][1] != replicas:
                stage.seen.replicas.append((now, replicas))


def _watch_pods(stage: Stage, end: threading.Event) -> None:
    api = client.CoreV1Api(config.new_client_from_config(stage.kube.kubeconfig))
    seen = stage.seen
    while not end.is_set():
        for event in watch.Watch().stream(
            api.list_namespaced_pod,
            stage.namespace,
            label_selector="longshore.dev/task-queue",
            timeout_seconds=3600,
        ):
            now, metadata = time.time(), event["object"].metadata
            seen.born.setdefault(metadata.name, now)
            if metadata.deletion_timestamp is not None:
                seen.asked_to_end.setdefault(metadata.name, now)
            if event["type"] == "DELETED":
                seen.gone[metadata.name] = now


def _through(encoded: str, *, port: int) -> str:
    url = urlsplit(base64.b64decode(encoded).decode())
    return urlunsplit(url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{port}"))
