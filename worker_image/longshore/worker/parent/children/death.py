"""Describes why a job's child died."""

from longshore.contract.message import DeadReason
from longshore.worker.linux.exits import describe_exit
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.jobs.outcome import Death
from longshore.worker.parent.jobs.work import Work


def death_of(child: Child, work: Work, status: int | None, *, tail: str) -> Death:
    """Return why a job of a dead child has no result; `tail` is the end of the job's output.

    `status` is as in `os.waitpid`, None if it is unknown.
    """
    match child.killed_for:
        case Kill.HARD_LIMIT:
            reason = DeadReason.HARD_LIMIT
            error = f"killed: it ran longer than its hard limit of {work.hard_limit:g} s"
        case Kill.MEMORY_LIMIT:
            reason = DeadReason.MEMORY_LIMIT
            error = f"killed: its processes used {child.memory_seen} bytes, more than its limit"
        case Kill.BROKEN:
            reason = DeadReason.WORKER_LOST
            error = f"killed: its process cannot report how it ends: {child.fault}"
        case _:
            reason = DeadReason.WORKER_LOST
            error = f"its process {describe_exit(status)} before the handler ended"
    return Death(reason=reason, error=error, output=tail, pid=child.pid)
