"""How processes end: the worker's exit codes, and descriptions of other processes' ends."""

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
    """No more children can be created."""

    UNSUITABLE = 5
    """The node lacks something that the worker needs: its HTTP port is taken, its limit on open
    files is too low for its slots, or no process can be created."""

    CRASHED = 70
    """A bug in the worker itself; its traceback is on stderr."""

    KILLED = 143
    """After a second SIGTERM or SIGINT: jobs were killed, and the broker redelivers them."""


def describe_exit(status: int | None) -> str:
    """Describe a wait status: `killed by SIGSEGV`, `exited with code 3`; `ended` for None."""
    if status is None:
        return "ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
