"""The end that a bug in one of the worker's parts brings about."""

import asyncio
import contextlib
import os
import sys
from typing import Any

from longshore.worker.parent.logs import Log

CRASHED = 70

log = Log("longshore.worker")


def fail_loudly(task: asyncio.Task[Any]) -> None:
    """A part that dies of a bug takes the worker with it; the broker redelivers its jobs."""
    if task.cancelled():
        return
    with contextlib.suppress(asyncio.InvalidStateError):
        if error := task.exception():
            log.error("crashed", error=repr(error))
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(CRASHED)
