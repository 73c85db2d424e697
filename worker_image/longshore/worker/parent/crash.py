"""Ends the worker when one of its parts has a bug."""

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
    """Have a bug in a callback of `loop` (a reader, a timer, pika) end the worker too.

    asyncio would log it and go on, although the callback's work is only half done.
    """
    loop.set_exception_handler(_on_exception)


def _on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Without a handle, it concerns a connection only, or a task that is watched elsewhere.
    error = context.get("exception")
    if error is None or "handle" not in context:
        loop.default_exception_handler(context)
    else:
        crash(error)


def fail_loudly(task: asyncio.Task[Any]) -> None:
    """Crash the worker if a part died of a bug; the broker then redelivers its jobs."""
    if task.cancelled():
        return
    with contextlib.suppress(asyncio.InvalidStateError):
        if error := task.exception():
            crash(error)


def crash(error: BaseException) -> None:
    """End the worker because of a bug; the log and the termination message report it."""
    log.error("worker-crashed", error=repr(error))
    termination.tell_bug(error)
    sys.excepthook(type(error), error, error.__traceback__)
    # Another thread writes the log, and `os._exit` does not wait for it.
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogWriter):
            handler.stop()
    os._exit(Exit.CRASHED)
