"""Celery, prefork: the pool with real process isolation and hard limits, its default.

- `task_acks_late`: ack after the run, not before.
- Slots: `--concurrency 2`. Prefetch is `worker_prefetch_multiplier` for each slot.
- `-O fair`, events, gossip, mingle, heartbeats to other workers and remote control off: nothing
  but jobs on the connection, in Celery's favour.
- `ignore_result`, no backend.

Run as a module: its client sends one job.
"""

from celery import Celery
from kombu import Exchange, Queue

from benchmarks.worker import ledger
from benchmarks.worker.peers import settings

app = Celery("bench", broker=settings.URL)
app.conf.update(
    task_queues=[
        Queue(
            settings.QUEUE,
            exchange=Exchange(""),
            routing_key=settings.QUEUE,
            queue_arguments=settings.QUEUE_ARGUMENTS,
        )
    ],
    task_default_queue=settings.QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=settings.PREFETCH // settings.SLOTS,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(payload: str) -> None:
    """The job."""
    ledger.count()


if __name__ == "__main__":
    noop.apply_async(kwargs={"payload": settings.PAYLOAD}, queue=settings.QUEUE)
