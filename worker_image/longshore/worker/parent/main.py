"""The worker's parent: builds its parts, runs until it is told to end, and drains.

It never runs user code and never blocks its event loop, so heartbeats go on whatever jobs do.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from longshore.amqp.address import Parameters
from longshore.amqp.address import parameters as read_parameters
from longshore.contract.config import OnTermination, WorkerConfig
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV, POD_NAME_ENV
from longshore.logs import Log
from longshore.worker.linux import prctl, termination
from longshore.worker.linux.exits import Exit
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.zygote import Zygote
from longshore.worker.parent.crash import crash, fail_loudly, watch_callbacks
from longshore.worker.parent.logs import LogWriter
from longshore.worker.parent.shutdown import Shutdown
from longshore.worker.parent.wiring import WorkerParts, build
from longshore.worker.wire.control import CommandUnusable, ImportFailed, Ready

RETURN_TIMEOUT = 3.0
"""Seconds for giving back the jobs that the second SIGTERM has ended; the cancellation of a
consumer may take most of them."""

log = Log("longshore.worker")


def run(config: WorkerConfig, *, url: str, control: socket.socket, zygote: int) -> int:
    """Run the parent of `zygote` until it has drained; return the exit code."""
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
        prctl.give_back_memory()
        # As in the zygote: a collection of the imports' objects would take a tenth of the start.
        gc.freeze()
        gc.enable()  # the image's entry point has disabled it
        try:
            code = asyncio.run(
                _work(config, parameters, control=control, zygote_pid=zygote, put_line=writer.put)
            )
        except Exception as error:
            crash(error)
            raise
    log.info("worker-exited", code=code)
    writer.stop()
    return code


def _parameters(url: str, config: WorkerConfig) -> Parameters | str:
    """Return how to connect, or what is wrong with `url`."""
    try:
        parameters = read_parameters(url, authority=os.environ.get(AMQP_CA_ENV))
    except ValueError as error:
        return f"{AMQP_URL_ENV} is not an AMQP address: {error}"
    parameters.heartbeat = max(1, round(config.heartbeat))
    # The worker reconnects itself, with jitter; pika would also retry each address once.
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": f"longshore-worker {_name()}"}
    return parameters


def _name() -> str:
    return os.environ.get(POD_NAME_ENV) or socket.gethostname()


async def _work(
    config: WorkerConfig,
    parameters: Parameters,
    *,
    control: socket.socket,
    zygote_pid: int,
    put_line: Callable[[str], None],
) -> int:
    """Build, start, wait for the end, drain, and close; return the exit code."""
    watch_callbacks(asyncio.get_running_loop())
    shutdown = Shutdown()
    parts = build(
        config,
        parameters=parameters,
        control=control,
        zygote_pid=zygote_pid,
        name=_name(),
        shutdown=shutdown,
        put_line=put_line,
        epoch=time.time,
        chance=random.random,
    )
    tasks = _Tasks()
    with _signals(shutdown, parts.zygote):
        serving = asyncio.ensure_future(_serve(parts, config, shutdown=shutdown, tasks=tasks))
        ends: set[asyncio.Future[int]] = {serving, shutdown.killed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            code = serving.result()
        else:
            log.warning("worker-killed")
            code = shutdown.killed.result()
            await _kill(parts, serving)
        await _close(parts)
        await tasks.cancel()
    return code


async def _serve(
    parts: WorkerParts, config: WorkerConfig, *, shutdown: Shutdown, tasks: "_Tasks"
) -> int:
    try:
        port = await parts.health.start(config.http_port)
    except (OSError, OverflowError) as error:
        message = (
            f"cannot listen on port {config.http_port} for /healthz, /readyz and /metrics: "
            f"{error}; with hostNetwork, each pod of a node needs a port of its own"
        )
        termination.tell(message)
        # One clear line without a traceback.
        log.error("port-unavailable", port=config.http_port, error=str(error))  # noqa: TRY400
        return Exit.UNSUITABLE
    log.info("worker-started", task_queue=config.queue, http_port=port, pid=os.getpid())
    tasks.start(parts.publisher.run())  # it connects while the handlers' modules load
    code = await _imported(parts.zygote, config, shutdown=shutdown)
    if code is not None:
        return code
    zygote, dispatch = parts.zygote, parts.dispatch
    zygote.gone.add_done_callback(lambda _: shutdown.on_zygote_gone(zygote.fault))
    parts.pool.start()
    for loop in parts.loops:
        tasks.start(loop())
    tasks.start(parts.consumer.run())
    code = await shutdown.begun
    log.info("worker-draining", held=dispatch.held, mode=config.on_termination)
    dispatch.stop_handing_out()
    await parts.consumer.drain()
    dispatch.start_draining(requeue=config.on_termination is OnTermination.REQUEUE)
    await dispatch.quiet()
    return code


async def _imported(zygote: Zygote, config: WorkerConfig, *, shutdown: Shutdown) -> int | None:
    """Wait for the zygote's imports; return an exit code if there is nothing to serve."""
    ready = asyncio.ensure_future(zygote.ready())
    ends: set[asyncio.Future[Any]] = {ready, shutdown.begun}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        return shutdown.begun.result()
    match ready.result():
        case Ready() as answer:
            log.info(
                "handlers-imported",
                handlers=sorted(answer.handlers),
                serves_any=answer.serves_any,
            )
            if answer.threads > 1:
                log.warning("threads-running", threads=answer.threads)
            return None
        case ImportFailed() as failed:
            termination.tell(f"cannot import {failed.what}: {failed.error}\n{failed.traceback}")
            log.error(
                "import-failed",
                what=failed.what,
                error=failed.error,
                traceback=failed.traceback,
            )
        case CommandUnusable(error=error):
            termination.tell(f"cannot run the command: {error}")
            log.error("command-unusable", error=error, command=config.command)
        case None:
            message = f"the process that imports the handlers {zygote.fault}"
            termination.tell(f"{message}: {', '.join(config.handlers)}")
            log.error("import-failed", what=", ".join(config.handlers), error=message)
    return Exit.IMPORT_FAILED


async def _kill(parts: WorkerParts, serving: asyncio.Task[int]) -> None:
    """End all jobs while the deliveries are still ours, before another worker can have any."""
    parts.dispatch.stop_handing_out()
    await parts.pool.close()
    # The current drain gives them back, once no more can arrive.
    await asyncio.wait({serving}, timeout=RETURN_TIMEOUT)
    serving.cancel()


async def _close(parts: WorkerParts) -> None:
    """Close the parts in the order of dependence: consumer, children, publisher, zygote."""
    parts.reporter.close()
    await parts.consumer.close()
    await parts.pool.close()
    await parts.publisher.close()
    await parts.health.stop()
    parts.zygote.close()


@contextlib.contextmanager
def _signals(shutdown: Shutdown, zygote: Zygote) -> Iterator[None]:
    """Handle signals, including those that have waited."""
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, shutdown.on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    loop.add_signal_handler(signal.SIGCHLD, processes.reap, zygote.on_exit)
    processes.reap(zygote.on_exit)  # a child may have died before the handler was installed
    yield
    # asyncio closes the pipe that signals are written to before it removes their handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    for number in (*_ENDING, signal.SIGCHLD):
        loop.remove_signal_handler(number)


_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


class _Tasks:
    """The tasks that run until the worker ends."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; if it dies of a bug, so does the worker."""
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(fail_loudly)
        self._tasks.append(task)

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
