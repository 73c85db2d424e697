"""The worker's parent: builds its parts, runs until told to end, drains.

It never runs user code and nothing in its event loop waits, so heartbeats go on whatever jobs do.
"""

import asyncio
import gc
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pika

from longshore.amqp.address import parameters as read_parameters
from longshore.contract.config import OnTermination, WorkerConfig
from longshore.contract.message import job_id
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV, POD_NAME_ENV
from longshore.contract.orders import Order, OrderKind
from longshore.contract.reports import WorkerReport
from longshore.contract.timing import most_held
from longshore.logs import Log
from longshore.worker.limits import limits_of_queue
from longshore.worker.linux import prctl, termination
from longshore.worker.linux.exits import Exit
from longshore.worker.parent.broker.consumer import Consumer
from longshore.worker.parent.broker.operator_line import Line
from longshore.worker.parent.broker.publisher import Publisher
from longshore.worker.parent.children import memory, processes
from longshore.worker.parent.children.pool import Limits, Pool
from longshore.worker.parent.children.zygote import Zygote
from longshore.worker.parent.crash import crash, fail_loudly, watch_callbacks
from longshore.worker.parent.dispatch import Dispatch
from longshore.worker.parent.intake.cordon import Cordon
from longshore.worker.parent.intake.flow import Bounds, Flow, Steady, first
from longshore.worker.parent.jobs.losses import Losses
from longshore.worker.parent.jobs.outcome import Judge, Outcome
from longshore.worker.parent.logs import LogWriter
from longshore.worker.parent.telemetry.health import Health
from longshore.worker.parent.telemetry.joblog import JobLog
from longshore.worker.parent.telemetry.metrics import Metrics
from longshore.worker.parent.telemetry.reporter import Reporter
from longshore.worker.wire.control import CommandUnusable, ImportFailed, Ready

RETURN_TIMEOUT = 3.0
"""Seconds that the second SIGTERM leaves for giving back the jobs that it has ended; a consumer's
cancellation may take most of them."""

log = Log("longshore.worker")


def run(config: WorkerConfig, *, url: str, control: socket.socket, zygote: int) -> int:
    """Be the parent of `zygote` until drained; the exit code."""
    writer = LogWriter(os.dup(1))
    writer.start()
    termination.hold_open()
    prctl.adopt_orphans()
    parameters = _parameters(url, config)
    if isinstance(parameters, str):
        termination.tell(parameters)
        log.error("config-invalid", error=parameters)
        code: int = Exit.BAD_CONFIG
    else:
        worker = _Worker(config, parameters, control, zygote, put_line=writer.put)
        prctl.give_back_memory()
        # As in the zygote: looking through what the imports made would be a tenth of the start.
        gc.freeze()
        gc.enable()  # the image's entry holds it back
        try:
            code = asyncio.run(worker.run())
        except Exception as error:
            crash(error)
            raise
    log.info("worker-exited", code=code)
    writer.stop()
    return code


def _parameters(url: str, config: WorkerConfig) -> pika.connection.Parameters | str:
    """How to connect, or what is wrong with `url`."""
    try:
        parameters = read_parameters(url, authority=os.environ.get(AMQP_CA_ENV))
    except ValueError as error:
        return f"{AMQP_URL_ENV} is no AMQP address: {error}"
    parameters.heartbeat = max(1, round(config.heartbeat))
    # Reconnecting is ours, with jitter; pika would try each address once more by itself.
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": f"longshore-worker {_name()}"}
    return parameters


def _name() -> str:
    return os.environ.get(POD_NAME_ENV) or socket.gethostname()


_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


class _Worker:
    """The parts of one worker and its way from start to exit."""

    def __init__(
        self,
        config: WorkerConfig,
        parameters: pika.connection.Parameters,
        control: socket.socket,
        zygote_pid: int,
        *,
        put_line: Callable[[str], None],
    ) -> None:
        self._config = config
        self._parameters = parameters
        self._control = control
        self._zygote_pid = zygote_pid
        self._put_line = put_line
        self._began = processes.began(now=_now())
        self._consuming_at: int | None = None
        self._until_consuming: processes.CpuTimes | None = None
        self._metrics = Metrics(slots=config.slots)
        self._tasks: list[asyncio.Task[Any]] = []
        self._was_signalled = False

    async def run(self) -> int:
        """Start, serve, drain; the exit code."""
        loop = asyncio.get_running_loop()
        watch_callbacks(loop)
        self._ending: asyncio.Future[int] = loop.create_future()
        self._killed: asyncio.Future[int] = loop.create_future()
        self._zygote = Zygote(self._control, self._zygote_pid)
        self._pool: Pool | None = None
        for number in _ENDING:
            loop.add_signal_handler(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        loop.add_signal_handler(signal.SIGCHLD, processes.reap, self._on_exit)
        processes.reap(self._on_exit)  # one may have died before the handler stood
        serving = loop.create_task(self._serve())
        ends: set[asyncio.Future[int]] = {serving, self._killed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            code = serving.result()
        else:
            log.warning("worker-killed")
            code = self._killed.result()
            await self._kill(serving)
        await self._stop()
        # asyncio closes the pipe that signals are written to before it removes their handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        for number in (*_ENDING, signal.SIGCHLD):
            loop.remove_signal_handler(number)
        return code

    async def _serve(self) -> int:
        config = self._config
        self._consumer = Consumer(
            self._parameters,
            queue=config.source or config.queue,
            queue_type=config.queue_type,
            prefetch=config.slots if config.prefetch == "auto" else config.prefetch,
            ack_timeout=config.ack_timeout,
        )
        self._publisher = Publisher(self._parameters)
        self._cordon = Cordon(self._consumer, held=lambda: self._dispatch.held if self._pool else 0)
        self._line = Line(on_order=self._on_order)
        self._publisher.beside = self._line.keep
        self._health = Health(
            is_ready=lambda: self._consumer.is_consuming,
            metrics=self._metrics.render,
            trouble=lambda: self._consumer.trouble,
        )
        try:
            port = await self._health.start(config.http_port)
        except (OSError, OverflowError) as error:
            message = (
                f"cannot listen on port {config.http_port} for /healthz, /readyz and /metrics: "
                f"{error}; with hostNetwork every pod of a node needs a port of its own"
            )
            termination.tell(message)
            # One clear line, without a traceback.
            log.error("port-unavailable", port=config.http_port, error=str(error))  # noqa: TRY400
            return Exit.UNSUITABLE
        log.info("worker-started", task_queue=config.queue, http_port=port, pid=os.getpid())
        self._start(self._publisher.run())
        answer = await self._zygotes_answer()
        if not isinstance(answer, Ready):
            return answer
        dispatch = self._dispatch = self._build(answer)
        self._start(self._consumer.run())
        await self._ending
        log.info("worker-draining", held=dispatch.held, mode=config.on_termination)
        dispatch.draining = True
        await self._consumer.drain()
        dispatch.start_draining(requeue=config.on_termination is OnTermination.REQUEUE)
        await dispatch.quiet()
        return self._ending.result()

    async def _zygotes_answer(self) -> Ready | int:
        """What the zygote has imported; an exit code when there is nothing to serve."""
        ready = asyncio.ensure_future(self._zygote.ready())
        ends: set[asyncio.Future[Any]] = {ready, self._ending}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            return self._ending.result()
        match ready.result():
            case Ready() as answer:
                log.info(
                    "handlers-imported",
                    handlers=sorted(answer.handlers),
                    serves_any=answer.serves_any,
                )
                if answer.threads > 1:
                    log.warning("threads-running", threads=answer.threads)
                return answer
            case ImportFailed() as failed:
                termination.tell(f"cannot import {failed.what}: {failed.error}\n{failed.traceback}")
                log.error(
                    "import-failed",
                    what=failed.what,
                    error=failed.error,
                    traceback=failed.traceback,
                )
                return Exit.IMPORT_FAILED
            case CommandUnusable(error=error):
                termination.tell(f"cannot run the command: {error}")
                log.error("command-unusable", error=error, command=self._config.command)
                return Exit.IMPORT_FAILED
            case None:
                message = f"the process that imports the handlers {self._zygote.fault}"
                termination.tell(f"{message}: {', '.join(self._config.handlers)}")
                log.error("import-failed", what=", ".join(self._config.handlers), error=message)
                return Exit.IMPORT_FAILED

    def _build(self, ready: Ready) -> Dispatch:
        config = self._config
        self._zygote.gone.add_done_callback(lambda _: self._on_zygote_gone())
        self._pool = pool = Pool(
            self._zygote,
            limits=Limits(
                slots=config.slots,
                kill_grace=config.kill_grace,
                max_jobs=config.jobs_per_child,
                max_memory=config.max_memory_per_child,
            ),
            on_kill=lambda cause: self._metrics.kills.update([cause]),
            put_line=self._put_line,
        )
        judge = Judge(
            queue=config.queue,
            host=_name(),
            retry=config.retry,
            handlers=ready.handlers,
            others=limits_of_queue(config),
            serves_any=ready.serves_any,
            now=_now,
            chance=random.random,
        )
        dispatch = Dispatch(
            pool=pool,
            consumer=self._consumer,
            publisher=self._publisher,
            judge=judge,
            # Where nothing waits in a worker, what was lost had begun.
            losses=Losses(allowance=0 if config.prefetch == config.slots else 1),
            metrics=self._metrics,
            job_log=JobLog(
                self._put_line,
                task_queue=config.queue,
                successes=config.log_successes,
                now=time.time,
            ),
            new_id=lambda: job_id(now=_now(), entropy=os.urandom(10)),
        )
        self._consumer.on_loss = lambda: self._metrics.reconnects.update(["consume"])
        self._publisher.on_loss = lambda: self._metrics.reconnects.update(["publish"])
        self._metrics.busy = lambda: pool.busy
        self._metrics.is_blocked = lambda: self._publisher.is_blocked
        self._reporter = Reporter(lambda: self._report(dispatch, pool), send=self._line.report)
        dispatch.listeners += [self._reporter.note_change, self._cordon.note]
        self._cordon.on_change = self._reporter.note_change
        self._consumer.on_consuming = self._on_consuming
        self._start(self._cordon.run())
        flow: Flow | Steady
        if config.prefetch == "auto":
            most = most_held(
                hard_limit=config.hard_limit,
                kill_grace=config.kill_grace,
                slots=config.slots,
                ack_timeout=config.ack_timeout,
            )
            bounds = Bounds(slots=config.slots, most=most)
            flow = Flow(dispatch, self._consumer, bounds=bounds)
            self._consumer.room = lambda prefetch: first(
                prefetch, dispatch.view(), slots=config.slots
            )
        else:
            flow = Steady(dispatch, self._consumer, slots=config.slots, prefetch=config.prefetch)
            steady = flow
            self._consumer.room = lambda _: steady.wanted()
        self._start(flow.run())
        dispatch.listeners.append(flow.note)
        pool.start(dispatch)
        self._start(self._reporter.run())
        if config.memory_limit_per_job is not None:
            self._start(memory.watch(pool.slots, limit=config.memory_limit_per_job, kill=pool.kill))
        return dispatch

    def _report(self, dispatch: Dispatch, pool: Pool) -> WorkerReport:
        settled, cpu = self._metrics.jobs, self._until_consuming
        return WorkerReport(
            queue=self._config.queue,
            worker=_name(),
            started_at=self._began,
            slots=self._config.slots,
            busy=pool.busy,
            held=dispatch.held,
            draining=dispatch.draining,
            cordon=self._cordon.in_force,
            succeeded=settled[Outcome.SUCCEEDED],
            failed=settled[Outcome.RETRIED],
            dead=settled[Outcome.DEAD],
            ran=self._metrics.run_seconds.count,
            run_seconds=round(self._metrics.run_seconds.sum, 4),
            wait=None if dispatch.latest_wait is None else round(dispatch.latest_wait, 3),
            consuming_at=self._consuming_at,
            cpu_ran=cpu.ran if cpu else None,
            cpu_waited=cpu.waited if cpu else None,
        )

    def _on_consuming(self) -> None:
        if self._consuming_at is None:
            self._consuming_at = _now()
            self._until_consuming = processes.cpu_times()
        self._reporter.note_change()

    async def _kill(self, serving: asyncio.Task[int]) -> None:
        """End all jobs while their deliveries are ours: no other worker has one of them yet."""
        if self._pool:
            self._dispatch.draining = True
            await self._pool.close()
        # The drain that is under way gives them back, once no more can come.
        await asyncio.wait({serving}, timeout=RETURN_TIMEOUT)
        serving.cancel()

    async def _stop(self) -> None:
        """Close in the order of dependence: consumer, children, publisher, zygote."""
        if self._pool:
            self._reporter.report()
            await self._consumer.close()
            await self._pool.close()
        await self._publisher.close()
        await self._health.stop()
        self._zygote.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(fail_loudly)
        self._tasks.append(task)

    def _on_order(self, order: Order) -> None:
        if order.kind is not OrderKind.DRAIN:
            self._cordon.take(order)
        elif not self._ending.done():
            log.info("drain-ordered")
            self._ending.set_result(Exit.DRAINED)

    def _on_signal(self) -> None:
        # Only a signal after a signal kills: the first one may follow an order to drain, or a
        # zygote's end.
        is_second, self._was_signalled = self._was_signalled, True
        if not self._ending.done():
            self._ending.set_result(Exit.DRAINED)
        elif is_second and not self._killed.done():
            self._killed.set_result(Exit.KILLED)

    def _on_exit(self, pid: int, status: int) -> None:
        if pid == self._zygote_pid:
            self._zygote.on_exit(status)
        if self._pool:
            self._pool.on_status(pid, status)

    def _on_zygote_gone(self) -> None:
        message = f"no process can be made for jobs any more: the zygote {self._zygote.fault}"
        log.error("zygote-gone", error=message)
        termination.tell(message)
        if not self._ending.done():
            self._ending.set_result(Exit.ZYGOTE_GONE)


def _now() -> int:
    return time.time_ns() // 1_000_000
