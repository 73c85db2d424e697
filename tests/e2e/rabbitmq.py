"""A RabbitMQ for one test alone, in the test's own namespace: it may be stopped there."""

import dataclasses
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from dev import paths, release
from dev.management import Place
from tests.e2e.tenant import Tenant


@contextmanager
def of_its_own(tenant: Tenant, *, series: str = "4.3") -> Iterator[Tenant]:
    """The tenant, its TaskQueues on a RabbitMQ and behind a Broker that nobody else uses."""
    kube, where = tenant.kube, f"--namespace={tenant.namespace}"
    image = json.loads(paths.IMAGES_RECORD.read_text())[f"rabbitmq-{series}"]
    kube.apply(
        kube.helm(
            "template",
            "own",
            str(paths.REPO / "charts" / "longshore"),
            where,
            "--kube-version=1.30.0",
            "--show-only=templates/rabbitmq.yaml",
            "--set=rabbitmq.enabled=true",
            f"--set=rabbitmq.image={image}",
            f"--set=rabbitmq.password={secrets.token_hex(16)}",
        )
    )
    place = Place(namespace=tenant.namespace, service="own-rabbitmq", broker=tenant.namespace)
    kube.kubectl("rollout", "status", f"statefulset/{place.service}", where, "--timeout=120s")
    broker = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": place.broker},
        "spec": {
            "host": f"{place.service}.{place.namespace}.svc",
            "secretRef": {"name": place.service, "namespace": place.namespace},
            "vhost": "longshore",
            "heartbeat": release.HEARTBEAT,
        },
    }
    kube.apply(json.dumps(broker))
    try:
        kube.kubectl("wait", f"broker/{place.broker}", "--for=condition=Ready", "--timeout=90s")
        yield dataclasses.replace(tenant, place=place)
    finally:
        # First the Broker: a TaskQueue whose Broker is gone goes at once, whatever RabbitMQ does.
        kube.kubectl("delete", "broker", place.broker)
