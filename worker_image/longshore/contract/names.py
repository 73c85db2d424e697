"""Names of everything that Longshore declares in RabbitMQ and Kubernetes."""

import re
from functools import lru_cache

JOBS_EXCHANGE = "longshore.jobs"
"""Topic exchange through which every job enters its queue; the key ends with the queue's name."""

DUE_EXCHANGE = "longshore.due"
"""Topic exchange through which delayed jobs enter their queue once they are due.

It differs from the jobs exchange, which returns a job that no queue takes to its producer: a
delayed job no longer has a producer. From here, such a job goes to `LOST`. Otherwise, at-least-once
dead-lettering would hold it at the bottom of the ladder, and 32 such jobs would stop all delays of
the vhost.
"""

DELAY_PREFIX = "longshore.delay."
"""Prefix of the exchanges and queues of the delay ladder."""

LOST = "longshore.lost"
"""Exchange and queue of delayed jobs whose queue has been deleted."""

RABBITMQ_PREFIX = "amq."
"""Prefix of names that RabbitMQ does not allow to be declared."""

DEAD_EXCHANGE = "longshore.dead"
"""Topic exchange to the dead-letter queues; the key ends with the name of the job's queue."""

REPORTS_EXCHANGE = "longshore.reports"
"""Topic exchange for workers' reports to the operator; the key is the queue's name."""

INSTALLATION_EXCHANGE = "longshore.installation"
"""Exchange without bindings that names the Broker to which the virtual host belongs."""

REPLY_TO = "amq.rabbitmq.reply-to"
"""RabbitMQ's direct reply-to. A worker consumes it to receive orders and names it as `reply_to` in
its reports, where RabbitMQ replaces it with the address of the worker's channel."""

WORKER_CONFIG_ENV = "LONGSHORE_WORKER_CONFIG"
"""Environment variable with a worker's configuration as JSON (`contract.config`)."""

AMQP_URL_ENV = "LONGSHORE_AMQP_URL"
"""Environment variable and Secret key with the `amqp://` or `amqps://` address and credentials."""

AMQP_CA_ENV = "LONGSHORE_AMQP_CA"
"""Environment variable and Secret key with the certificate authority, in PEM format, that signed
RabbitMQ's certificate. If it is absent, the system's authorities are used."""

QUEUE_ENV = "LONGSHORE_QUEUE"
"""Environment variable and Secret key with the queue's name, `NAMESPACE.NAME`."""

POD_NAME_ENV = "LONGSHORE_POD_NAME"
"""Environment variable with the pod's name, by which the operator identifies a worker's reports."""

TERMINATION_LOG_ENV = "LONGSHORE_TERMINATION_LOG"
"""Environment variable with the path to which a worker writes why it ended; for tests, and for
runtimes other than Kubernetes."""

TERMINATION_LOG = "/dev/termination-log"
"""The file from which Kubernetes reads a container's termination message."""

MAX_TASK_QUEUE_NAME = 54
"""Longest name of a TaskQueue: with `-producer` appended, it is still a DNS label (63)."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@lru_cache(maxsize=10_000)  # the operator asks for each several times a second
def queue_name(*, namespace: str, name: str) -> str:
    """Return the job queue of TaskQueue `name` in `namespace`, which is also its key in every
    exchange.

    Both parts are DNS labels without a dot, so two TaskQueues never share a queue. Raises
    ValueError if one is not.
    """
    for what, value in (("namespace", namespace), ("name", name)):
        if not _DNS_LABEL.fullmatch(value):
            raise ValueError(
                f"{what} {value!r} is not a DNS label: lower-case letters, digits and '-', "
                "at most 63 characters"
            )
    return f"{namespace}.{name}"


def plain(text: str) -> str:
    """Return `text` as a plain str, not as a subclass.

    An `Enum` member that is also a str would be formatted as its name, `Queue.MEDIA`.
    """
    return str.__str__(text)


def dead_queue_name(queue: str) -> str:
    """Return the queue that holds the dead letters of `queue`."""
    return f"{queue}.dead"


def ending_with(queue: str) -> str:
    """Return the binding key for messages to `queue`, whatever delay bits precede its name."""
    return f"#.{queue}"


def worker_name(task_queue: str) -> str:
    """Return the name of the Deployment of a TaskQueue's workers, and of their Secret."""
    return f"{task_queue}-worker"


def producer_name(task_queue: str) -> str:
    """Return the name of the Secret with which producers publish to a TaskQueue."""
    return f"{task_queue}-producer"
