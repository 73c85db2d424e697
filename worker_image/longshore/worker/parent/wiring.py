"""Creates the worker's parts and connects them.

Each part is complete when its constructor returns: the parts that it calls are arguments, so they
are created first. Where two parts need each other, one of them calls something small that is
created before both (an `asyncio.Event`, the `Shutdown`, the `CordonGate`); the dispatch creates the
pool. Nothing runs before `main` starts it.
"""

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from longshore.amqp.address import Parameters
from longshore.amqp.publisher import Publisher
from longshore.contract.config import WorkerConfig
from longshore.contract.message import job_id
from longshore.contract.orders import UNDERSTOOD, DrainOrder, Order
from longshore.contract.reports import WorkerReport
from longshore.contract.timing import most_held
from longshore.worker.limits import limits_of_queue
from longshore.worker.linux import termination
from longshore.worker.parent.broker.consumer import Consumer
from longshore.worker.parent.broker.operator_line import Line
from longshore.worker.parent.children import memory, processes
from longshore.worker.parent.children.pool import Limits, Pool, PoolListener
from longshore.worker.parent.children.zygote import Zygote
from longshore.worker.parent.dispatch import Dispatch
from longshore.worker.parent.intake.cordon import CordonGate
from longshore.worker.parent.intake.flow import Bounds, Flow, Steady, first, fixed_prefetch
from longshore.worker.parent.jobs.losses import Losses
from longshore.worker.parent.jobs.outcome import Judge, Outcome
from longshore.worker.parent.shutdown import Shutdown
from longshore.worker.parent.telemetry.health import Health
from longshore.worker.parent.telemetry.joblog import JobLog
from longshore.worker.parent.telemetry.metrics import Metrics
from longshore.worker.parent.telemetry.reporter import Reporter
from longshore.worker.parent.telemetry.start import StartTimes

Loop = Callable[[], Coroutine[Any, Any, None]]
"""A loop that runs until it is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The parts, which `main` starts, drains and closes, in that order."""

    zygote: Zygote
    publisher: Publisher
    health: Health
    pool: Pool
    dispatch: Dispatch
    consumer: Consumer
    reporter: Reporter
    loops: tuple[Loop, ...]
    """The other loops that run while jobs are served."""


def build(
    config: WorkerConfig,
    *,
    parameters: Parameters,
    control: socket.socket,
    zygote_pid: int,
    name: str,
    shutdown: Shutdown,
    put_line: Callable[[str], None],
    epoch: Callable[[], float],
    chance: Callable[[], float],
) -> WorkerParts:
    """Create all parts of the worker named `name`, in a running event loop.

    That loop is the clock of all waits and time limits. `epoch` returns seconds since the epoch,
    `chance` a number in [0, 1).
    """

    def now() -> int:
        return int(1000 * epoch())

    metrics = Metrics(slots=config.slots)
    start = StartTimes(began=processes.began(now=now()), now=now, cpu_times=processes.cpu_times)
    report_due, jobs_changed = asyncio.Event(), asyncio.Event()
    cordon = CordonGate(on_change=report_due.set)
    line = Line(on_order=functools.partial(_obey, cordon, shutdown))
    publisher = Publisher(
        parameters,
        beside=line.keep,
        on_loss=lambda: metrics.reconnects.update(["publish"]),
        refused=termination.tell,
    )
    zygote = Zygote(control, zygote_pid)
    # If no jobs wait in a worker, every lost job had begun.
    losses = Losses(
        allowance=0 if config.prefetch == config.slots else 1,
        clock=asyncio.get_running_loop().time,
    )
    dispatch = Dispatch(
        pool=functools.partial(_pool, config, zygote, metrics, put_line),
        publisher=publisher,
        judge=_judge(config, zygote, host=name, now=now, chance=chance),
        losses=losses,
        observers=(
            metrics,
            JobLog(put_line, task_queue=config.queue, successes=config.log_successes, now=epoch),
        ),
        new_id=lambda: job_id(now=now(), entropy=os.urandom(10)),
        on_change=(report_due.set, cordon.note, jobs_changed.set),
    )
    pool = dispatch.pool

    def on_consuming() -> None:
        losses.on_consumer_back()
        start.note_consuming()
        report_due.set()

    def on_loss() -> None:
        losses.on_consumer_lost()
        metrics.reconnects.update(["consume"])

    consumer = Consumer(
        parameters,
        dispatch,
        queue=config.source or config.queue,
        queue_type=config.queue_type,
        prefetch=config.slots if config.prefetch == "auto" else config.prefetch,
        ack_timeout=config.ack_timeout,
        room=functools.partial(_room, config, dispatch),
        on_consuming=on_consuming,
        on_loss=on_loss,
    )
    observe = functools.partial(
        _report, config, name, dispatch=dispatch, cordon=cordon, metrics=metrics, start=start
    )
    reporter = Reporter(observe, send=line.report, changed=report_due)
    loops: list[Loop] = [
        lambda: cordon.run(consumer, held=lambda: dispatch.held),
        _flow(config, dispatch, consumer, changed=jobs_changed).run,
        reporter.run,
    ]
    if (most := config.memory_limit_per_job) is not None:
        loops.append(lambda: memory.watch(pool.children, limit=most, kill=pool.kill))
    return WorkerParts(
        zygote=zygote,
        publisher=publisher,
        health=Health(
            is_ready=lambda: consumer.is_consuming,
            metrics=lambda: metrics.render(busy=pool.busy, is_blocked=publisher.is_blocked),
            trouble=lambda: consumer.trouble,
        ),
        pool=pool,
        dispatch=dispatch,
        consumer=consumer,
        reporter=reporter,
        loops=tuple(loops),
    )


def _obey(cordon: CordonGate, shutdown: Shutdown, order: Order) -> None:
    if isinstance(order, DrainOrder):
        shutdown.on_drain_order()
    else:
        cordon.take(order)


def _pool(
    config: WorkerConfig,
    zygote: Zygote,
    metrics: Metrics,
    put_line: Callable[[str], None],
    listener: PoolListener,
) -> Pool:
    return Pool(
        zygote,
        listener,
        limits=Limits(
            slots=config.slots,
            kill_grace=config.kill_grace,
            max_jobs=config.jobs_per_child,
            max_memory=config.max_memory_per_child,
        ),
        on_kill=lambda cause: metrics.kills.update([cause]),
        put_line=put_line,
    )


def _judge(
    config: WorkerConfig,
    zygote: Zygote,
    *,
    host: str,
    now: Callable[[], int],
    chance: Callable[[], float],
) -> Judge:
    return Judge(
        queue=config.queue,
        host=host,
        retry=config.retry,
        # The imports fill it, and no job arrives before them.
        handlers=zygote.handlers,
        others=limits_of_queue(config),
        serves_any=bool(config.command),
        now=now,
        chance=chance,
    )


def _room(config: WorkerConfig, dispatch: Dispatch, prefetch: int) -> int:
    """Return how many jobs to request on a new connection after `prefetch` on the last one."""
    if config.prefetch == "auto":
        return first(prefetch, dispatch.view(), slots=config.slots)
    return fixed_prefetch(config.prefetch, dispatch.view(), slots=config.slots)


def _flow(
    config: WorkerConfig, dispatch: Dispatch, consumer: Consumer, *, changed: asyncio.Event
) -> Flow | Steady:
    if config.prefetch == "auto":
        most = most_held(
            hard_limit=config.hard_limit,
            kill_grace=config.kill_grace,
            slots=config.slots,
            ack_timeout=config.ack_timeout,
        )
        bounds = Bounds(slots=config.slots, most=most)
        return Flow(dispatch, consumer, bounds=bounds, changed=changed)
    prefetch = config.prefetch
    return Steady(
        consumer,
        prefetch=prefetch,
        wanted=lambda: fixed_prefetch(prefetch, dispatch.view(), slots=config.slots),
        changed=changed,
    )


def _report(
    config: WorkerConfig,
    name: str,
    *,
    dispatch: Dispatch,
    cordon: CordonGate,
    metrics: Metrics,
    start: StartTimes,
) -> WorkerReport:
    settled, cpu, wait = metrics.jobs, start.cpu, metrics.latest_wait
    return WorkerReport(
        queue=config.queue,
        worker=name,
        started_at=start.began,
        slots=config.slots,
        understands=UNDERSTOOD,
        busy=dispatch.pool.busy,
        held=dispatch.held,
        draining=dispatch.draining,
        cordon=cordon.in_force,
        succeeded=settled[Outcome.SUCCEEDED],
        failed=settled[Outcome.RETRIED],
        dead=settled[Outcome.DEAD],
        ran=metrics.run_seconds.count,
        run_seconds=round(metrics.run_seconds.sum, 4),
        wait=None if wait is None else round(wait, 3),
        consuming_at=start.consuming_at,
        cpu_ran=cpu.ran if cpu else None,
        cpu_waited=cpu.waited if cpu else None,
    )
