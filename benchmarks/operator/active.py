"""Work for some of the TaskQueues: jobs that wait, and workers that report.

The pods are real objects that no node takes, so they cost nothing; their workers' reports are real
messages, sent from here.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx
import msgspec
import pika
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.operator.tenants import NAMESPACE
from benchmarks.worker.broker import Broker, Vhost
from dev.kube import Kube, wait_for
from longshore.contract.names import JOBS_EXCHANGE, REPORTS_EXCHANGE, queue_name
from longshore.contract.reports import WorkerReport
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL

JOBS = 200
"""That wait in each queue, more than `scaling.max` workers begin at once."""

TALE = 0.5
"""Seconds between two reports of a worker: one that runs jobs of a second, as it begins and ends
each."""

REPLY_TO = "amq.rabbitmq.reply-to"


@contextmanager
def active(
    kube: Kube, names: Sequence[str], *, workers: int, broker: Broker, vhost: Vhost
) -> Iterator[None]:
    """Jobs in the queues of TaskQueues `names`, each with so many workers that are busy."""
    queues = {name: queue_name(namespace=NAMESPACE, name=name) for name in names}
    end = threading.Event()
    with pika.BlockingConnection(pika.URLParameters(vhost.url)) as connection:
        channel = connection.channel()
        for queue in queues.values():
            for _ in range(JOBS):
                channel.basic_publish(JOBS_EXCHANGE, queue, b"{}")
    pods = wait_for(
        "the workers are ordered",
        lambda: _complete(_pods(kube, queues), each=workers),
        seconds=120,
        every=1.0,
    )
    reporter = threading.Thread(target=_report, args=(vhost.url, queues, pods, end), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        end.set()
        reporter.join()
        auth = (broker.user, broker.password)
        with httpx.Client(base_url=broker.management, auth=auth, trust_env=False) as client:
            for queue in queues.values():
                client.delete(f"/api/queues/{vhost.name}/{queue}/contents").raise_for_status()


def _pods(kube: Kube, queues: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in queues}
    for pod in kube.get("pods", f"--namespace={NAMESPACE}")["items"]:
        name = pod["metadata"]["labels"].get(TASK_QUEUE_LABEL)
        if name in found:
            found[name].append(pod["metadata"]["name"])
    return found


def _complete(pods: dict[str, list[str]], *, each: int) -> dict[str, list[str]] | None:
    return pods if all(len(names) == each for names in pods.values()) else None


def _report(
    amqp: str,
    queues: Mapping[str, str],
    pods: Mapping[str, Sequence[str]],
    end: threading.Event,
) -> None:
    started, ran = time.time_ns() // 1_000_000, 0
    with pika.BlockingConnection(pika.URLParameters(amqp)) as connection:
        channel = connection.channel()
        channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
        properties = pika.BasicProperties(reply_to=REPLY_TO)
        while not end.is_set():
            began, ran = time.monotonic(), ran + 1
            for name, queue in queues.items():
                for pod in pods[name]:
                    report = WorkerReport(
                        queue=queue,
                        worker=pod,
                        started_at=started,
                        slots=1,
                        busy=ran % 2,
                        held=1,
                        succeeded=ran // 2,
                        ran=ran // 2,
                        run_seconds=ran // 2 * 2 * TALE,
                        consuming_at=started,
                    )
                    channel.basic_publish(
                        REPORTS_EXCHANGE, queue, msgspec.json.encode(report), properties
                    )
            connection.process_data_events(time_limit=max(0.0, began + TALE - time.monotonic()))


def buckets(port: int, name: str) -> dict[float, float]:
    """A histogram of the operator: how often at most so many seconds."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{name}_bucket"
    }


def p99(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """The least bound, in seconds, that 99 of 100 of what came between did not exceed."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    total = counts[float("inf")]
    return next(bound for bound, count in counts.items() if count >= 0.99 * total)
