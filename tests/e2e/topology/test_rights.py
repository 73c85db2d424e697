"""Users of a TaskQueue may do what is theirs and nothing else, and get new passwords at work."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from dev.kube import wait_for
from longshore.contract.delays import route
from longshore.contract.names import AMQP_URL_ENV, JOBS_EXCHANGE
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import RabbitMQ

Attempt = Callable[[BlockingChannel, str], object]
ATTEMPTS: dict[str, Attempt] = {
    "publish": lambda channel, queue: channel.basic_publish(JOBS_EXCHANGE, queue, b"{}"),
    "delay": lambda channel, queue: channel.basic_publish(*route(queue, delay=1), b"{}"),
    "publish past the exchange": lambda channel, queue: channel.basic_publish("", queue, b"{}"),
    "get": lambda channel, queue: channel.basic_get(queue),
    "purge": lambda channel, queue: channel.queue_purge(queue),
    "delete": lambda channel, queue: channel.queue_delete(queue),
}


def test_nobody_touches_a_neighbours_queue(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    neighbour = dataclasses.replace(tenant, namespace=f"{tenant.namespace}-too")
    neighbour.create()
    try:
        neighbour.declared(scaling={"paused": True})
        tenant.declared(scaling={"paused": True})

        answers = {
            f"{role}: {what}": answer(tenant, rabbitmq, role, attempt, queue=neighbour.queue())
            for role in ("worker", "producer")
            for what, attempt in ATTEMPTS.items()
        }

        assert answers == dict.fromkeys(answers, 403)
        assert rabbitmq.depth(neighbour.queue()) == 0
    finally:
        neighbour.delete(wait=False)


@pytest.mark.slow
def test_new_credentials_make_new_pods_and_drop_no_running_job(
    tenant: Tenant, rabbitmq: RabbitMQ
) -> None:
    tenant.apply(scaling={"min": 1}, timeLimit={"hard": "120s"})
    tenant.wait_for_condition("Ready", "True", seconds=120)
    before = tenant.secret("work-worker")
    (old,) = [pod["metadata"]["name"] for pod in tenant.pods()]
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold_until_told")
    wait_for("the job runs", lambda: tenant.jobs().get("running") == 1, seconds=60)

    tenant.kube.kubectl(
        "annotate", "tq", "work", f"--namespace={tenant.namespace}",
        "longshore.dev/rotate-credentials=now",
    )  # fmt: skip

    wait_for("a new password", lambda: tenant.secret("work-worker") != before, seconds=60)
    with (
        pytest.raises(pika.exceptions.ProbableAuthenticationError),
        channel(rabbitmq, before[AMQP_URL_ENV]),
    ):
        pass
    assert tenant.jobs().get("succeeded") == 0, "it was rotated while the job ran"
    tenant.tell(old)
    wait_for("the job is done", lambda: tenant.jobs().get("succeeded") == 1, seconds=90)
    assert tenant.jobs().get("failed", 0) == 0

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in tenant.pods()]

    wait_for("a new pod alone", lambda: len(names()) == 1 and old not in names(), seconds=120)
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "note", text="after all")
    wait_for("its job is done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)


def answer(tenant: Tenant, rabbitmq: RabbitMQ, role: str, attempt: Attempt, *, queue: str) -> int:
    """The code with which RabbitMQ closes the channel; 0 when it does as asked."""
    with channel(rabbitmq, tenant.credentials(role=role)[AMQP_URL_ENV]) as one:
        try:
            attempt(one, queue)
        except pika.exceptions.ChannelClosedByBroker as error:
            return int(error.reply_code)
        return 0


@contextmanager
def channel(rabbitmq: RabbitMQ, address: str) -> Iterator[BlockingChannel]:
    """A channel of the user in an address."""
    url = urlsplit(address)
    with rabbitmq.channel(unquote(url.username or ""), unquote(url.password or "")) as one:
        yield one
