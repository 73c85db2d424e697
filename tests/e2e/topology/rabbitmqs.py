"""RabbitMQ 4.0 and 4.3 in the cluster side by side, with TLS, each behind a Broker of its own.

The trial RabbitMQ that comes with the release is left out of this: here, things get broken.
"""

import base64
import json
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pika
import yaml
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from dev import paths
from dev.kube import Kube
from dev.management import Place
from dev.release import HEARTBEAT
from tests.e2e.tenant import Tenant
from tests.integration import certificates

SERIES = ("4.0", "4.3")
NAMESPACE = "rabbitmq-e2e"
VHOST = "longshore"
AUTHORITY = "authority"
"""Secret with the certificate authority that signed both servers' certificates."""

ACCESS_LOG = "/tmp/http"
LOOPBACK = ("127.", "::1", "::ffff:127.")
CONFIG = f"""
log.console.level = info
management.http_log_dir = {ACCESS_LOG}
listeners.ssl.default = 5671
ssl_options.certfile = /etc/rabbitmq/tls/tls.crt
ssl_options.keyfile = /etc/rabbitmq/tls/tls.key
management.tcp.port = 15672
management.ssl.port = 15671
management.ssl.certfile = /etc/rabbitmq/tls/tls.crt
management.ssl.keyfile = /etc/rabbitmq/tls/tls.key
"""


@dataclass(frozen=True, kw_only=True)
class RabbitMQ:
    """One of them, as its administrator sees it from outside of the cluster."""

    kube: Kube
    series: str
    username: str
    password: str = field(repr=False)
    amqp_port: int
    http_port: int
    vhost: str = VHOST

    @property
    def place(self) -> Place:
        return place(self.series)

    @property
    def by_consumer(self) -> bool:
        """Whether each consumer sets its ack timeout itself."""
        return self.series == "4.3"

    def api(self, method: str, *path: str, **body: Any) -> Any:
        """What the management API says to this; None when that is nothing."""
        response = self.answer(method, *path, **body)
        response.raise_for_status()
        return response.json() if response.content else None

    def answer(self, method: str, *path: str, **body: Any) -> httpx.Response:
        address = "/".join(quote(part, safe="") for part in path)
        return httpx.request(
            method,
            f"http://127.0.0.1:{self.http_port}/api/{address}",
            auth=(self.username, self.password),
            json=body or None,
            timeout=30,
            trust_env=False,
        )

    def names(self, *path: str, key: str = "name") -> set[str]:
        """Names of all objects of a kind."""
        return {item[key] for item in self.api("GET", *path)}

    @contextmanager
    def channel(self, username: str = "", password: str = "") -> Iterator[BlockingChannel]:
        """A channel with confirms; the administrator's, or that of another user."""
        where = pika.ConnectionParameters(
            host="127.0.0.1",
            port=self.amqp_port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(username or self.username, password or self.password),
            heartbeat=0,
        )
        connection = pika.BlockingConnection(where)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def depth(self, queue: str) -> int | None:
        """Messages ready in `queue`, counted now; None when there is no such queue."""
        try:
            with self.channel() as channel:
                return int(channel.queue_declare(queue, passive=True).method.message_count)
        except ChannelClosedByBroker as error:
            if error.reply_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def asked_by_pods(self) -> list[str]:
        """What other pods asked of the management API about this vhost so far, in order, as
        `METHOD /path`. Names of users begin with their vhost's."""
        words = ("sh", "-c", f"cat {ACCESS_LOG}/*")
        pod = (f"{self.place.service}-0", f"--namespace={NAMESPACE}", "--")
        lines = self.kube.kubectl("exec", *pod, *words).splitlines()
        found = (re.match(r'(\S+) .*?"(\S+ \S+)', line) for line in lines)
        asked = [match[2] for match in found if match and not match[1].startswith(LOOPBACK)]
        return [each for each in asked if quote(self.vhost, safe="") in each]

    def publish(self, channel: BlockingChannel, *, exchange: str, key: str, text: str = "") -> None:
        """A job for the handler `note`, stored when this returns."""
        properties = pika.BasicProperties(
            type="note", content_type="application/json", delivery_mode=2
        )
        body = json.dumps({"text": text}).encode()
        channel.basic_publish(exchange, key, body, properties, mandatory=True)


def place(series: str) -> Place:
    release = f"e2e-{series.replace('.', '-')}"
    return Place(namespace=NAMESPACE, service=f"{release}-rabbitmq", broker=release)


def start(kube: Kube) -> None:
    """Have both of them up, with their Brokers."""
    remove(kube)
    kube.kubectl("create", "namespace", NAMESPACE)
    with tempfile.TemporaryDirectory() as work:
        names = [f"DNS:{place(series).service}.{NAMESPACE}.svc" for series in SERIES]
        folder = certificates.make(Path(work) / "tls", names=",".join([*names, "IP:127.0.0.1"]))
        kube.apply(secret("server", _pair(folder)))
        kube.apply(secret(AUTHORITY, {"ca.crt": (folder / "ca.pem").read_text()}))
    for series in SERIES:
        kube.apply(yaml.safe_dump_all(_manifests(kube, series)))
    for series in SERIES:
        workload = f"statefulset/{place(series).service}"
        kube.kubectl("rollout", "status", workload, f"--namespace={NAMESPACE}")
    brokers = [f"broker/{place(series).broker}" for series in SERIES]
    kube.kubectl("wait", *brokers, "--for=condition=Ready", "--timeout=90s")


def remove(kube: Kube, *, wait: bool = True) -> None:
    # Brokers first: a TaskQueue whose Broker is gone goes at once, whatever RabbitMQ does.
    brokers = [place(series).broker for series in SERIES]
    kube.kubectl("delete", "broker", *brokers, "--ignore-not-found")
    words = ("--ignore-not-found", f"--wait={str(wait).lower()}", "--timeout=90s")
    kube.kubectl("delete", "namespace", NAMESPACE, *words)


@contextmanager
def reached(kube: Kube, series: str) -> Iterator[RabbitMQ]:
    """One of them, by ports of loopback, for as long as the block lasts."""
    where = place(series)
    data = kube.get("secret", where.service, f"--namespace={NAMESPACE}")["data"]
    target = f"service/{where.service}"
    with ExitStack() as stack:
        amqp, http = (
            stack.enter_context(kube.forwarded(target, namespace=NAMESPACE, port=port))
            for port in (5672, 15672)
        )
        yield RabbitMQ(
            kube=kube,
            series=series,
            username=base64.b64decode(data["username"]).decode(),
            password=base64.b64decode(data["password"]).decode(),
            amqp_port=amqp,
            http_port=http,
        )


@contextmanager
def apart(tenant: Tenant, rabbitmq: RabbitMQ) -> Iterator[tuple[Tenant, RabbitMQ]]:
    """Both with a Broker and a vhost that no other test uses: what all TaskQueues of a Broker
    share may be changed there."""
    name = tenant.namespace
    reference = {"name": f"{rabbitmq.place.broker}-default-user", "namespace": NAMESPACE}
    tenant.kube.apply(
        json.dumps(broker(name, reference=reference, vhost=name, heartbeat=HEARTBEAT))
    )
    try:
        tenant.kube.kubectl("wait", f"broker/{name}", "--for=condition=Ready", "--timeout=90s")
        yield (
            replace(tenant, place=replace(tenant.place, broker=name)),
            replace(rabbitmq, vhost=name),
        )
    finally:
        tenant.kube.kubectl("delete", "broker", name)
        rabbitmq.answer("DELETE", "vhosts", name)
        for user in rabbitmq.names("users"):
            if user.startswith(f"{name}."):
                rabbitmq.answer("DELETE", "users", user)


def cluster_operators_secret(series: str, *, username: str, password: str) -> dict[str, str]:
    """What the RabbitMQ Cluster Operator writes into its Secret NAME-default-user, with TLS on."""
    host = f"{place(series).service}.{NAMESPACE}.svc"
    return {
        "username": username,
        "password": password,
        "host": host,
        "port": "5671",
        "provider": "rabbitmq",
        "type": "rabbitmq",
        "default_user.conf": f"default_user = {username}\ndefault_pass = {password}\n",
        "connection_string": f"amqps://{username}:{password}@{host}:5671/",
    }


def broker(name: str, *, reference: dict[str, str], **spec: Any) -> dict[str, Any]:
    """A Broker that trusts our authority; `reference` leads to the Secret of its user."""
    authority = {"name": AUTHORITY, "namespace": NAMESPACE}
    return {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": name},
        "spec": {"secretRef": reference, "tls": {"caSecretRef": authority}, **spec},
    }


def _manifests(kube: Kube, series: str) -> list[dict[str, Any]]:
    """The chart's trial RabbitMQ once more, with TLS; and a Broker for it."""
    where = place(series)
    image = json.loads(paths.IMAGES_RECORD.read_text())[f"rabbitmq-{series}"]
    rendered = kube.helm(
        "template",
        where.broker,
        str(paths.REPO / "charts" / "longshore"),
        f"--namespace={NAMESPACE}",
        "--kube-version=1.30.0",
        "--show-only=templates/rabbitmq.yaml",
        "--set=rabbitmq.enabled=true",
        f"--set=rabbitmq.password={secrets.token_urlsafe(12)}",
        f"--set=rabbitmq.image={image}",
        f"--set=rabbitmq.config={CONFIG}",
    )
    objects = {each["kind"]: each for each in yaml.safe_load_all(rendered)}
    objects["Service"]["spec"]["ports"] += [
        {"name": "amqps", "port": 5671},
        {"name": "management-tls", "port": 15671},
    ]
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "tls", "secret": {"secretName": "server"}})
    mount = {"name": "tls", "mountPath": "/etc/rabbitmq/tls"}
    pod["containers"][0]["volumeMounts"].append(mount)
    data = objects["Secret"]["data"]
    username, password = (base64.b64decode(data[key]).decode() for key in ("username", "password"))
    credentials = cluster_operators_secret(series, username=username, password=password)
    reference = {"name": f"{where.broker}-default-user", "namespace": NAMESPACE}
    return [
        *objects.values(),
        yaml.safe_load(secret(reference["name"], credentials)),
        broker(where.broker, reference=reference, vhost=VHOST, heartbeat=HEARTBEAT),
    ]


def _pair(folder: Path) -> dict[str, str]:
    return {
        "tls.crt": (folder / "server.pem").read_text(),
        "tls.key": (folder / "server.key").read_text(),
    }


def secret(name: str, values: dict[str, str], *, namespace: str = NAMESPACE) -> str:
    metadata = {"name": name, "namespace": namespace}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
    )
