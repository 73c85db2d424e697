"""Dramatiq, with its default middleware (limits, retries, callbacks), as `dramatiq` installs it.

- Dramatiq always acks after the run.
- It insists on declaring its queues with a dead-letter exchange of its own; overridden so that the
  queue has the arguments that all others have. Its delay and dead-letter queues stay.
- Slots: `--processes 2 --threads 1`, or in-process threads, `--processes 1 --threads 2`.
- Prefetch is read by Dramatiq from `dramatiq_queue_prefetch`; by default it is two for each thread.
- There is no result backend unless one is installed.

Run as a module: its client sends one job.
"""

from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.worker import ledger
from benchmarks.worker.peers import settings


class PlainQueues(RabbitmqBroker):
    """Queues with the arguments of the benchmark."""

    def _build_queue_arguments(self, _: str) -> dict[str, Any]:
        return settings.QUEUE_ARGUMENTS


broker = PlainQueues(url=settings.URL)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=settings.QUEUE)
def noop(payload: str) -> None:
    """The job."""
    ledger.count()


if __name__ == "__main__":
    noop.send(payload=settings.PAYLOAD)
    broker.close()
