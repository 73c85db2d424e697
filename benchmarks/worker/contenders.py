"""Who is compared, and how each is started."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.worker import product
from benchmarks.worker.broker import QueueType
from benchmarks.worker.errors import NotBuiltYet
from benchmarks.worker.peers import environment as peers
from benchmarks.worker.wire import PAYLOAD

QUEUE = product.QUEUE
SLOTS = 2
PREFETCHES = (32, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The conditions of one comparison."""

    queue_type: QueueType
    prefetch: int

    def __str__(self) -> str:
        return f"{self.queue_type}/{self.prefetch}"


CELLS = tuple(
    Cell(queue_type=queue_type, prefetch=prefetch)
    for prefetch in PREFETCHES
    for queue_type in QueueType
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One system under comparison."""

    name: str
    work: tuple[str, ...]
    """Command that works until SIGTERM, in the repository's folder."""

    send: tuple[str, ...]
    """Command whose client sends one job."""

    consumers: int
    """Consumers of the queue once all its slots work."""

    variables: Callable[[str, Cell], dict[str, str]]
    """Environment of both commands, for a vhost's address and a cell."""

    logs_each_job: bool = False
    share: float = 1.0
    """Of the jobs of a drain: the slower a contender, the fewer it needs for the same time."""


def longshore(
    name: str,
    *,
    logs_each_job: bool = True,
    handler: str = "noop",
    is_auto: bool = False,
    hard_limit: float = product.HARD_LIMIT,
) -> Contender:
    """Our worker; `is_auto` has it choose its prefetch, up to that of the cell."""

    def variables(url: str, cell: Cell) -> dict[str, str]:
        settings = product.config(
            slots=SLOTS,
            prefetch="auto" if is_auto else cell.prefetch,
            log_successes=logs_each_job,
            hard_limit=hard_limit,
        )
        return product.environment(url, settings)

    return Contender(
        name=name,
        work=product.COMMAND,
        send=(sys.executable, "-m", "benchmarks.worker.product", handler),
        consumers=1,
        variables=variables,
        logs_each_job=logs_each_job,
    )


def _peer(
    name: str, *, work: tuple[str, ...], send: tuple[str, ...], consumers: int, share: float = 0.5
) -> Contender:
    def variables(url: str, cell: Cell) -> dict[str, str]:
        return peers.environment(
            url=url,
            queue=QUEUE,
            queue_type=str(cell.queue_type),
            prefetch=cell.prefetch,
            payload=PAYLOAD,
        )

    program, *words = send
    return Contender(
        name=name,
        work=(peers.program(work[0]), *work[1:]),
        send=(peers.program(program), *words),
        consumers=consumers,
        variables=variables,
        share=share,
    )


def _dramatiq(name: str, *, processes: int, threads: int) -> Contender:
    module = "benchmarks.worker.peers.dramatiq_app"
    return _peer(
        name,
        work=("dramatiq", module, f"--processes={processes}", f"--threads={threads}"),
        send=("python", "-m", module),
        consumers=processes,
    )


LONGSHORE = longshore("longshore")
"""With limits, output capture, metrics and its JSON log line for every job."""

LONGSHORE_QUIET = longshore("longshore-quiet", logs_each_job=False)
"""The same, silent about jobs that succeed."""

DRAMATIQ = _dramatiq("dramatiq-processes", processes=SLOTS, threads=1)
DRAMATIQ_THREADS = _dramatiq("dramatiq-threads", processes=1, threads=SLOTS)

TASKIQ = _peer(
    "taskiq",
    work=(
        *("taskiq", "worker", "benchmarks.worker.peers.taskiq_app:broker"),
        *(f"--workers={SLOTS}", "--ack-type=when_executed", "--log-level=WARNING"),
    ),
    send=("python", "-m", "benchmarks.worker.peers.taskiq_app"),
    consumers=SLOTS,
    share=0.3,
)

AIO_PIKA = _peer(
    "aio-pika-master",
    work=("python", "-m", "benchmarks.worker.peers.aio_pika_master"),
    send=("python", "-m", "benchmarks.worker.peers.aio_pika_master", "--send"),
    consumers=SLOTS,
)

CELERY = _peer(
    "celery-prefork",
    work=(
        *("celery", "--app=benchmarks.worker.peers.celery_app", "worker"),
        *("--pool=prefork", f"--concurrency={SLOTS}", "-O", "fair", "--loglevel=WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    send=("python", "-m", "benchmarks.worker.peers.celery_app"),
    consumers=1,
    share=0.1,
)

IN_PROCESS = (DRAMATIQ, DRAMATIQ_THREADS, TASKIQ, AIO_PIKA)
"""Peers that run jobs in the process that talks to the broker, and so can kill none."""

ALL = (LONGSHORE, LONGSHORE_QUIET, *IN_PROCESS, CELERY)


def split_ready(chosen: Sequence[Contender]) -> tuple[list[Contender], dict[str, str]]:
    """Those that can run, and for each of the others, by name, what is not built yet."""
    missing = {}
    for each in chosen:
        try:
            each.variables("amqp://127.0.0.1", CELLS[0])
        except NotBuiltYet as reason:
            missing[each.name] = str(reason)
    return [each for each in chosen if each.name not in missing], missing
