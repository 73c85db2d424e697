"""One run of a job in a child, and the clocks against it."""

from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause


class Run:
    """A run of `job` that began at `since`. All times are on the event loop's clock.

    Not a dataclass: every job needs a run, and a dataclass takes longer to compute its fields.
    """

    __slots__ = ("asked", "deadline", "due", "is_softened", "job", "since")

    def __init__(self, job: Work, since: float, asked: Cause | None = None) -> None:
        self.job = job
        self.since = since
        self.deadline = deadline = since + job.hard_limit
        soft = since + job.soft_limit
        self.due = soft if soft < deadline else deadline
        """When the next clock is due: at the soft limit, or at `deadline`."""

        self.is_softened = False
        """Whether the job was notified of its soft limit."""

        self.asked = asked
        """Why the job was asked to end."""

    def soften(self) -> None:
        """Note that the soft limit has passed; only the hard one is left."""
        self.is_softened = True
        self.due = self.deadline

    def ask(self, cause: Cause) -> bool:
        """Note `cause` as the reason to end; return False if a reason as grave is known already.

        So a lost delivery stays lost, and a job that was promised to be uncharged does not get a
        soft limit.
        """
        if self.asked is not None and cause <= self.asked:
            return False
        self.asked = cause
        return True
