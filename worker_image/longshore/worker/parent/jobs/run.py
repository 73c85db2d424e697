"""One run of a job in a child, and the clocks against it."""

from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause


class Run:
    """`job` runs since `since`; all times are on the event loop's clock.

    Written by hand, as each job needs one: a dataclass cannot compute fields for as little.
    """

    __slots__ = ("asked", "deadline", "due", "is_softened", "job", "since")

    def __init__(self, job: Work, since: float, asked: Cause | None = None) -> None:
        self.job = job
        self.since = since
        self.deadline = deadline = since + job.hard_limit
        soft = since + job.soft_limit
        self.due = soft if soft < deadline else deadline
        """When the next clock strikes: the soft limit, or `deadline`."""

        self.is_softened = False
        """Was told of its soft limit."""

        self.asked = asked
        """Why it was asked to end."""

    def soften(self) -> None:
        """Its soft limit is over; only the hard one is left."""
        self.is_softened = True
        self.due = self.deadline

    def ask(self, cause: Cause) -> bool:
        """Whether to ask it to end for `cause`.

        Nothing but a graver cause follows another: a lost delivery stays lost, and who was promised
        not to be charged is not given a soft limit.
        """
        if self.asked is not None and cause <= self.asked:
            return False
        self.asked = cause
        return True
