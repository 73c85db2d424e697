"""What chaos plays on: a RabbitMQ of one or three nodes, a relay before it, and TaskQueues."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pika

from chaos.kinds import KILL_GRACE, MOST_ATTEMPTS, Queue
from dev import packages, paths, release
from dev.embedded import layout
from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from longshore.contract.names import AMQP_URL_ENV, queue_name

NAMESPACE = "chaos"
RABBITMQ = "chaos-rabbitmq"
"""Namespace and Broker of the RabbitMQ."""

VHOST = "chaos"
CLASSIC = "orders"
FOLDER = Path("/var/tmp/longshore-chaos")
HEARTBEAT = 5
RELAY_PORT = 25_672
HANDLERS = Path(__file__).parent / "jobs.py"
FAKETIME = {"/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1": "libfaketime"}
USERNAME, PASSWORD = "admin", "chaos-administrator"


@dataclass(kw_only=True)
class Stage:
    """All of it, as the nemesis, the producer and the collector reach it."""

    kube: Kube
    series: str
    nodes: int
    folder: Path
    """Of this run, on the only node: the history, the clock, the relay's delay."""

    address: str = ""
    """RabbitMQ's ClusterIP, which this machine reaches without the relay."""

    # RabbitMQ

    def api(self, method: str, *path: str, body: Any = None) -> Any:
        """What the management API answers. Raises httpx.HTTPError."""
        address = "/".join(quote(part, safe="") for part in path)
        response = httpx.request(
            method,
            f"http://{self.address}:15672/api/{address}",
            auth=(USERNAME, PASSWORD),
            json=body,
            timeout=10,
            trust_env=False,
        )
        response.raise_for_status()
        return response.json() if response.content else None

    def is_up(self, node: int | None = None) -> bool:
        """Whether a node, or every node, of RabbitMQ serves."""
        try:
            found = self.api("GET", "nodes")
        except httpx.HTTPError:
            return False
        running = [each for each in found if each["running"]]
        if node is not None:
            return any(f"rmq-{node}." in each["name"] for each in running)
        return len(running) == self.nodes

    def connect(self) -> pika.BlockingConnection:
        """An administrator's connection, past the relay. Raises pika's errors."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.address,
                5672,
                VHOST,
                pika.PlainCredentials(USERNAME, PASSWORD),
                heartbeat=0,
                blocked_connection_timeout=5,
                socket_timeout=5,
                stack_timeout=5,
            )
        )

    def rabbitmqctl(self, *words: str, node: int = 0) -> str:
        pod = (f"rmq-{node}", f"--namespace={RABBITMQ}", "--")
        return self.kube.kubectl("exec", *pod, "rabbitmqctl", *words, timeout=60)

    # TaskQueues

    def producer_url(self, queue: str) -> str:
        """Address and credentials of a queue's producers, once the operator has made them."""

        def look() -> str | None:
            secret = self.kube.get("secret", f"{queue}-producer", f"--namespace={NAMESPACE}")
            return base64.b64decode(secret["data"][AMQP_URL_ENV]).decode()

        return wait_for(f"Secret {queue}-producer", look, seconds=60)

    def task_queue(self, name: str, *, image: str, **changes: Any) -> dict[str, Any]:
        """The manifest of one TaskQueue; `changes` go into its spec by section."""
        mounts: list[dict[str, Any]] = [
            {"name": "handlers", "mountPath": "/app"},
            {"name": "history", "mountPath": "/history"},
        ]
        volumes: list[dict[str, Any]] = [
            {"name": "handlers", "configMap": {"name": "handlers"}},
            {"name": "history", "hostPath": {"path": str(self.folder)}},
        ]
        container: dict[str, Any] = {"name": "worker", "volumeMounts": mounts}
        if name == Queue.SKEWED:
            (library,) = FAKETIME
            volumes.append({"name": "clock", "hostPath": {"path": str(Path(library).parent)}})
            mounts.append({"name": "clock", "mountPath": "/clock", "readOnly": True})
            container["env"] = [
                {"name": "LD_PRELOAD", "value": "/clock/libfaketime.so.1"},
                {"name": "FAKETIME_TIMESTAMP_FILE", "value": "/history/clock"},
                {"name": "FAKETIME_CACHE_DURATION", "value": "1"},
                # The history is written by the monotonic clock, which no real jump moves either.
                {"name": "FAKETIME_DONT_FAKE_MONOTONIC", "value": "1"},
            ]
        spec: dict[str, Any] = {
            "broker": {"name": RABBITMQ},
            "timeLimit": {"hard": "30s", "killGrace": f"{KILL_GRACE:g}s"},
            "retry": {
                "maxAttempts": MOST_ATTEMPTS,
                "initialDelay": "1s",
                "maxDelay": "2s",
            },
            "worker": {
                "image": image,
                "handlers": ["jobs"],
                "slots": 2,
                "podTemplate": {"spec": {"volumes": volumes, "containers": [container]}},
            },
            "scaling": {"min": 1, "max": 2, "idleGrace": "3s", "steadyFor": "0s", "minLife": "0s"},
        }
        for section, change in changes.items():
            spec[section] = {**spec.get(section, {}), **change}
        return {
            "apiVersion": "longshore.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }

    def apply(self, *objects: dict[str, Any]) -> None:
        # JSON is YAML, and writes an enum's value as what it is.
        self.kube.apply("\n---\n".join(map(json.dumps, objects)))

    def queue(self, name: str) -> str:
        """The queue of a TaskQueue in RabbitMQ."""
        return CLASSIC if name == Queue.ADOPTED else queue_name(namespace=NAMESPACE, name=name)


@contextmanager
def stage(*, series: str, nodes: int) -> Iterator[Stage]:
    """Everything up, for as long as the block lasts."""
    packages.require(FAKETIME)
    kube = Kube.from_record()
    forget_back_off(kube)
    release.install(kube)
    remove(kube)
    folder = FOLDER / f"{time.time_ns()}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    (folder / "clock").write_text("+0")
    (folder / "delay").write_text("0")
    playing = Stage(kube=kube, series=series, nodes=nodes, folder=folder)
    try:
        _start_rabbitmq(playing)
        with _relay(playing):
            _declare(playing)
            yield playing
    finally:
        remove(kube, wait=False)


def forget_back_off(kube: Kube) -> bool:
    """Have an operator that was killed often started at once: the kubelet would wait for minutes.

    False where there is none, or nobody to ask.
    """
    words = ("pods", "--selector=app.kubernetes.io/component=operator", "--wait=false")
    try:
        kube.kubectl("delete", *words, f"--namespace={release.NAMESPACE}")
    except CommandFailed:
        return False
    return True


def remove(kube: Kube, *, wait: bool = True) -> None:
    """Take all of it away; Brokers first, so that nothing waits for a RabbitMQ that is gone."""
    words = ("--ignore-not-found", f"--wait={str(wait).lower()}", "--timeout=120s")
    kube.kubectl("delete", "broker", RABBITMQ, "--ignore-not-found")
    kube.kubectl("delete", "namespace", NAMESPACE, RABBITMQ, *words, timeout=150)


def _start_rabbitmq(stage: Stage) -> None:
    image = json.loads(paths.IMAGES_RECORD.read_text())[f"rabbitmq-{stage.series}"]
    stage.apply(*_rabbitmq(image, series=stage.series, nodes=stage.nodes))
    where = f"--namespace={RABBITMQ}"
    stage.kube.kubectl("rollout", "status", "statefulset/rmq", where, timeout=240)
    stage.address = stage.kube.get("service", "rabbit", where)["spec"]["clusterIP"]
    wait_for("all nodes of RabbitMQ", stage.is_up, seconds=120)


def _declare(stage: Stage) -> None:
    images = json.loads(paths.IMAGES_RECORD.read_text())
    metadata = {"name": "handlers", "namespace": NAMESPACE}
    handlers = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    stage.kube.kubectl("create", "namespace", NAMESPACE)
    stage.api("PUT", "vhosts", VHOST, body={})
    stage.api("PUT", "queues", VHOST, CLASSIC, body={"durable": True})
    stage.apply({**handlers, "data": {"jobs.py": HANDLERS.read_text()}})
    stage.apply(
        {
            "apiVersion": "longshore.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": RABBITMQ},
            "spec": {
                "secretRef": {"name": "rmq", "namespace": RABBITMQ},
                "host": layout.HOST,
                "port": RELAY_PORT,
                "managementURL": f"http://rabbit.{RABBITMQ}.svc:15672",
                "vhost": VHOST,
                "heartbeat": f"{HEARTBEAT}s",
            },
        }
    )
    image = images["worker"]
    adopted = {"name": CLASSIC, "type": "Classic"}
    stage.apply(
        stage.task_queue(Queue.QUICK, image=image),
        stage.task_queue(Queue.SLOW, image=image, scaling={"min": 0, "max": 4}),
        stage.task_queue(Queue.SKEWED, image=image, scaling={"max": 1}),
        stage.task_queue(Queue.ADOPTED, image=image, queue=adopted, scaling={"max": 1}),
    )
    names = [f"tq/{name}" for name in Queue]
    words = (f"--namespace={NAMESPACE}", "--for=condition=QueueDeclared", "--timeout=120s")
    stage.kube.kubectl("wait", *names, *words, timeout=150)


@contextmanager
def _relay(stage: Stage) -> Iterator[None]:
    words = (layout.HOST, str(RELAY_PORT), stage.address, "5672", str(stage.folder / "delay"))
    with subprocess.Popen([sys.executable, "-m", "chaos.relay", *words], cwd=paths.REPO) as relay:
        try:
            time.sleep(0.5)
            if relay.poll() is not None:
                raise CommandFailed(f"the relay does not run: is port {RELAY_PORT} taken?")
            yield
        finally:
            relay.kill()


def _rabbitmq(image: str, *, series: str, nodes: int) -> list[dict[str, Any]]:
    """A RabbitMQ whose data outlives its processes."""
    domain = f"rmq.{RABBITMQ}.svc.{layout.DOMAIN}"
    peers = [
        f"cluster_formation.classic_config.nodes.{number + 1} = rabbit@rmq-{number}.{domain}"
        for number in range(nodes)
    ]
    settings = [
        "cluster_formation.peer_discovery_backend = classic_config",
        *peers,
        "queue_leader_locator = balanced",
        "vm_memory_high_watermark.absolute = 400MB",
        "disk_free_limit.absolute = 200MB",
        "log.console.level = warning",
        "net_ticktime = 10",
        # Quorum queues give disk back only when this log is full. With the default, 512 MiB, that
        # would take our jobs hours.
        "raft.wal_max_size_bytes = 8388608",
    ]
    if series == "4.0" and nodes > 1:
        # With Mnesia and without this, nodes that were parted stay so until somebody restarts one;
        # `pause_minority` does not heal what a node missed while it was stopped (4.0.5).
        settings.append("cluster_partition_handling = autoheal")
    labels = {"app": "rmq"}
    metadata = {"name": "rmq", "namespace": RABBITMQ}
    ports = [{"name": "amqp", "port": 5672}, {"name": "management", "port": 15672}]
    # Started again by a shell: the kubelet would wait longer after each kill.
    start = (
        'umask 077; printf %s "$COOKIE" > /var/lib/rabbitmq/.erlang.cookie; '
        "while :; do rabbitmq-server; sleep 1; done"
    )
    cookie = {"secretKeyRef": {"name": "rmq", "key": "cookie"}}
    container = {
        "name": "rabbitmq",
        "image": image,
        "command": ["sh", "-c", start],
        "env": [
            {"name": "COOKIE", "valueFrom": cookie},
            {"name": "RABBITMQ_DEFAULT_USER", "value": USERNAME},
            {"name": "RABBITMQ_DEFAULT_PASS", "value": PASSWORD},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "RABBITMQ_USE_LONGNAME", "value": "true"},
            {"name": "RABBITMQ_NODENAME", "value": f"rabbit@$(POD).{domain}"},
        ],
        "readinessProbe": {"tcpSocket": {"port": 5672}, "periodSeconds": 2},
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/rabbitmq"},
            {"name": "config", "mountPath": "/etc/rabbitmq/conf.d/90.conf", "subPath": "90.conf"},
        ],
    }
    pod = {
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        "containers": [container],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "config", "configMap": {"name": "rmq"}},
        ],
    }
    headless = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels}
    credentials = {"username": USERNAME, "password": PASSWORD, "cookie": "chaos"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RABBITMQ}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": credentials},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"90.conf": "\n".join(settings) + "\n"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {**headless, "ports": ports[:1]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "rabbit", "namespace": RABBITMQ},
            "spec": {"selector": labels, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata,
            "spec": {
                "replicas": nodes,
                "serviceName": "rmq",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
