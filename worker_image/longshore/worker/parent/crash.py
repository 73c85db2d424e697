"""The end that a bug in one of the worker's parts brings about."""

import asyncio
import contextlib
import logging
import os
import sys
from typing import Any

from longshore.logs import Log
from longshore.worker.linux import termination
from longshore.worker.linux.exits import Exit
from longshore.worker.parent.logs import LogWriter

log = Log("longshore.worker")


def watch_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    """A bug in a callback of `loop` (a reader, a timer, pika) ends the worker too.

    asyncio would log it and go on with half of what the callback had to do.
    """
    loop.set_exception_handler(_on_exception)


def _on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Without a handle it is a connection's own affair, or of a task that is watched elsewhere.
    error = context.get("exception")
    if error is None or "handle" not in context:
        loop.default_exception_handler(context)
    else:
        crash(error)


def fail_loudly(task: asyncio.Task[Any]) -> None:
    """A part that dies of a bug takes the worker with it; the broker redelivers its jobs."""
    if task.cancelled():
        return
    with contextlib.suppress(asyncio.InvalidStateError):
        if error := task.exception():
            crash(error)


def crash(error: BaseException) -> None:
    """End the worker over a bug; the log and the termination message tell of it."""
    log.error("worker-crashed", error=repr(error))
    termination.tell_bug(error)
    sys.excepthook(type(error), error, error.__traceback__)
    # Another thread writes the log, and nothing waits for it below.
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogWriter):
            handler.stop()
    os._exit(Exit.CRASHED)
