"""Names of everything that Longshore declares in RabbitMQ and Kubernetes."""

import re
from functools import lru_cache

JOBS_EXCHANGE = "longshore.jobs"
"""Topic exchange through which every job enters its queue; the key ends with the queue's name."""

DUE_EXCHANGE = "longshore.due"
"""Topic exchange through which delayed jobs enter their queue once their time has come.

Not the jobs exchange: that one returns to its producer what no queue takes, but a delayed job has
no producer any more. From here it goes to `LOST`; without that, at-least-once dead-lettering would
hold it at the foot of the ladder, and 32 such jobs would stop the delays of the whole vhost.
"""

DELAY_PREFIX = "longshore.delay."
"""How the exchanges and queues of the delay ladder begin."""

LOST = "longshore.lost"
"""Exchange and queue of delayed jobs whose queue is gone."""

RABBITMQ_PREFIX = "amq."
"""How the names begin that RabbitMQ lets nobody declare."""

DEAD_EXCHANGE = "longshore.dead"
"""Topic exchange to the dead-letter queues; the key ends with the name of the job's queue."""

REPORTS_EXCHANGE = "longshore.reports"
"""Topic exchange for what workers tell the operator; the key is the queue's name."""

INSTALLATION_EXCHANGE = "longshore.installation"
"""Exchange without bindings that says whose the virtual host is."""

REPLY_TO = "amq.rabbitmq.reply-to"
"""RabbitMQ's direct reply-to: a worker consumes it to take orders, and names it in its reports as
the way to answer, where RabbitMQ puts the address of the worker's channel in its place."""

WORKER_CONFIG_ENV = "LONGSHORE_WORKER_CONFIG"
"""Environment variable with a worker's configuration as JSON (`contract.config`)."""

AMQP_URL_ENV = "LONGSHORE_AMQP_URL"
"""Environment variable and Secret key with the `amqp://` or `amqps://` address and credentials."""

AMQP_CA_ENV = "LONGSHORE_AMQP_CA"
"""Environment variable and Secret key with the certificate authority, in PEM form, that signed
RabbitMQ's certificate; the system's authorities when it is absent."""

QUEUE_ENV = "LONGSHORE_QUEUE"
"""Environment variable and Secret key with the queue's name, `NAMESPACE.NAME`."""

POD_NAME_ENV = "LONGSHORE_POD_NAME"
"""Environment variable with the pod's name, by which the operator knows a worker's reports."""

TERMINATION_LOG_ENV = "LONGSHORE_TERMINATION_LOG"
"""Environment variable with the path where a worker writes why it ended, for tests and other
runtimes than Kubernetes."""

TERMINATION_LOG = "/dev/termination-log"
"""Where Kubernetes reads a container's last words."""

MAX_TASK_QUEUE_NAME = 54
"""Longest name of a TaskQueue: with `-producer` behind it, it is still a DNS label (63)."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@lru_cache(maxsize=10_000)  # the operator asks for each several times a second
def queue_name(*, namespace: str, name: str) -> str:
    """The job queue of TaskQueue `name` in `namespace`; also its key in every exchange.

    Both parts are DNS labels and hold no dot, so two TaskQueues never share a queue.
    """
    for what, value in (("namespace", namespace), ("name", name)):
        if not _DNS_LABEL.fullmatch(value):
            raise ValueError(
                f"{what} {value!r} is not a DNS label: lower-case letters, digits and '-', "
                "63 characters at most"
            )
    return f"{namespace}.{name}"


def plain(text: str) -> str:
    """The characters of `text` as a str and no subclass of it.

    A member of an `Enum` that is also a str is formatted by its own name, `Queue.MEDIA`.
    """
    return str.__str__(text)


def dead_queue_name(queue: str) -> str:
    """The queue that keeps the dead letters of `queue`."""
    return f"{queue}.dead"


def ending_with(queue: str) -> str:
    """Binding key for messages to `queue`, whatever delay bits still stand before its name."""
    return f"#.{queue}"


def worker_name(task_queue: str) -> str:
    """The Deployment of a TaskQueue's workers, and the Secret that they connect with."""
    return f"{task_queue}-worker"


def producer_name(task_queue: str) -> str:
    """The Secret with which producers publish to a TaskQueue."""
    return f"{task_queue}-producer"
