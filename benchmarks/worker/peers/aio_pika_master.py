"""aio-pika's Master/Worker pattern with JSON, `JsonMaster`.

- Slots: two processes, each one event loop with a connection of its own, as its manual's
  `worker.py` started twice.
- Prefetch is the channel's qos in each process.
- Master acks after the run; it has no results.

Run as a module: works until SIGTERM. With `--send`: its client sends one job.
"""

import asyncio
import multiprocessing
import signal
import sys

import aio_pika
from aio_pika.patterns import JsonMaster

from benchmarks.worker import ledger
from benchmarks.worker.peers import settings


async def noop(*, payload: str) -> None:
    """The job."""
    ledger.count()


def work() -> None:
    """One worker process."""
    asyncio.run(serve())


async def serve() -> None:
    """Consume until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    connection = await aio_pika.connect_robust(settings.URL)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=settings.PREFETCH)
        await JsonMaster(channel).create_worker(
            settings.QUEUE, noop, durable=True, arguments=settings.QUEUE_ARGUMENTS
        )
        await ended.wait()


async def send_one() -> None:
    """Let aio-pika's client send one job."""
    async with await aio_pika.connect_robust(settings.URL) as connection:
        master = JsonMaster(await connection.channel())
        await master.create_task(settings.QUEUE, {"payload": settings.PAYLOAD})


def run_workers() -> None:
    """One process for each slot; SIGTERM is passed on."""
    workers = [multiprocessing.Process(target=work) for _ in range(settings.SLOTS)]
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, lambda *_: [worker.terminate() for worker in workers])
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    if "--send" in sys.argv:
        asyncio.run(send_one())
    else:
        run_workers()
