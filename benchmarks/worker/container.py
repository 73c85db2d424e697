"""Container start → consuming, in the real image on a real cluster.

Needs the embedded cluster: its node is this machine, so the pod reaches the same broker on the
host's loopback, and the kernel tells when the container's first process was created, to 10 ms.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from benchmarks.worker import product
from benchmarks.worker.broker import Broker, QueueType, Vhost
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.processes import first_with_environment
from benchmarks.worker.spread import Spread, spread
from dev import paths
from dev.errors import DevError
from dev.kube import Kube

STARTS = 10
_DEADLINE = 60.0
_HANDLERS = "from longshore import handler\n\n\n@handler\ndef noop(payload: str) -> None: ...\n"


def measure(broker: Broker, scale: float) -> Spread:
    """Seconds, of pods one after another. Raises BenchmarkError where there is no such cluster."""
    try:
        if not paths.IMAGES_RECORD.exists():
            raise BenchmarkError("no images are built: run make images")
        image = json.loads(paths.IMAGES_RECORD.read_text())["worker"]
        if json.loads(paths.CLUSTER_RECORD.read_text())["kind"] != "embedded":
            raise BenchmarkError("only in the embedded cluster are pods on this machine")
        kube = Kube.from_record()
        return spread(
            [
                _start_seconds(broker, kube, image=image)
                for _ in range(max(1, round(STARTS * scale)))
            ]
        )
    except (DevError, FileNotFoundError) as error:
        raise BenchmarkError(f"no cluster: {error}") from None


BOUNDS = (
    Bound(
        "container start → consuming, median",
        Side.AT_MOST,
        1.0,
        "s",
        lambda found: found.median,
    ),
)


def _start_seconds(broker: Broker, kube: Kube, *, image: str) -> float:
    with broker.vhost() as vhost:
        product.declare(vhost, queue_type=QueueType.QUORUM)
        with _pod(kube, vhost, image=image):
            vhost.await_consumers(product.QUEUE, count=1, seconds=_DEADLINE)
            # The clock that process start times are told in.
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            return now - first_with_environment(vhost.url)


@contextmanager
def _pod(kube: Kube, vhost: Vhost, *, image: str) -> Iterator[None]:
    name = vhost.name
    kube.kubectl("create", "namespace", name)
    try:
        for manifest in (_handlers(name), _worker(vhost, image=image)):
            kube.kubectl("apply", f"--namespace={name}", "--filename=-", given=json.dumps(manifest))
        yield
    finally:
        kube.kubectl("delete", "namespace", name, "--timeout=60s")


def _handlers(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"bench_jobs.py": _HANDLERS},
    }


def _worker(vhost: Vhost, *, image: str) -> dict[str, Any]:
    settings = msgspec.structs.replace(product.config(), handlers=("bench_jobs",))
    variables = product.environment(vhost.url, settings)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker"},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {
                    "name": "worker",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "env": [{"name": key, "value": value} for key, value in variables.items()],
                    "volumeMounts": [{"name": "handlers", "mountPath": "/app"}],
                }
            ],
            "volumes": [{"name": "handlers", "configMap": {"name": vhost.name}}],
        },
    }
