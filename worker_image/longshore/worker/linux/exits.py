"""How processes end: the worker's exit codes, and others' ends in words."""

import os
import signal

DRAINED = 0
BAD_CONFIG = 2
IMPORT_FAILED = 3
ZYGOTE_GONE = 4
UNSUITABLE = 5
CRASHED = 70
KILLED = 143


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
