"""Taskiq with taskiq-aio-pika.

- Slots: `--workers 2`, two processes. The job is a coroutine, Taskiq's fastest kind: a plain
  function would go through a thread pool.
- `--max-async-tasks` is left at 100 for each process, more than two slots, in Taskiq's favour.
- `--ack-type when_executed`: late ack; there is no result to save.
- Prefetch is `qos` of each process.
- `declare=False`: Taskiq would add a dead-letter exchange to the queue's arguments.

Run as a module: its client sends one job.
"""

import asyncio

from taskiq_aio_pika import AioPikaBroker, Queue, QueueType

from benchmarks.worker import ledger
from benchmarks.worker.peers import settings

broker = AioPikaBroker(
    url=settings.URL,
    qos=settings.PREFETCH,
    task_queues=[
        Queue(
            name=settings.QUEUE,
            type=QueueType(settings.QUEUE_ARGUMENTS["x-queue-type"]),
            declare=False,
        )
    ],
)


@broker.task(task_name="noop")
async def noop(payload: str) -> None:
    """The job."""
    ledger.count()


async def send_one() -> None:
    """Let Taskiq's client send one job."""
    await broker.startup()
    # A queue that Taskiq has not declared is not bound to its exchange either.
    queue = await broker.write_channel.get_queue(settings.QUEUE)
    await queue.bind("taskiq", routing_key=settings.QUEUE)
    await noop.kiq(payload=settings.PAYLOAD)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(send_one())
