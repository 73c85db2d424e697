"""How processes end: the worker's exit codes, and others' ends in words."""

import os
import signal
from enum import IntEnum


class Exit(IntEnum):
    """The worker's exit codes. All but `DRAINED` and `KILLED` leave a termination message."""

    DRAINED = 0
    """After SIGTERM, SIGINT or an order: every job is settled or given back."""

    BAD_CONFIG = 2
    """The configuration is missing or invalid."""

    IMPORT_FAILED = 3
    """A handlers' module cannot be imported or served, or the command cannot be run."""

    ZYGOTE_GONE = 4
    """No child can be made any more."""

    UNSUITABLE = 5
    """The node does not give what the worker needs: its HTTP port is taken, too few files may be
    open for its slots, or no process can be made."""

    CRASHED = 70
    """A bug in the worker itself; its traceback is on stderr."""

    KILLED = 143
    """After a second SIGTERM or SIGINT: jobs were killed, the broker redelivers them."""


def describe_exit(status: int | None) -> str:
    """A wait status in words: `killed by SIGSEGV`, `exited with code 3`; `ended` for None."""
    if status is None:
        return "ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
