"""The last hour of one TaskQueue: backlog, workers and wait. It is lost when the operator ends."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

STEP = 30
"""Seconds that one moment covers."""

LENGTH = 3600 // STEP

_Number = TypeVar("_Number", int, float)


class Moment(BaseModel):
    """The highest value of each number in one step; None is unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: int
    """Its beginning, in seconds since the epoch."""

    backlog: int | None = None
    """Jobs that waited."""

    workers: int | None = None
    """Workers requested from Kubernetes."""

    wait: float | None = None
    """Longest wait, in seconds, of a job that began in this step; None if none began."""


class Hour(BaseModel):
    """Moments, the latest last; some may be missing."""

    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The history of one TaskQueue."""

    moments: tuple[Moment, ...] = ()

    def noted(
        self, *, epoch: float, backlog: int | None, workers: int | None, wait: float | None
    ) -> "History":
        """Return the history with what is seen at `epoch`, in seconds since the epoch."""
        at = int(epoch) // STEP * STEP
        last = self.moments[-1] if self.moments and self.moments[-1].at == at else None
        if last is None:
            now = Moment(at=at, backlog=backlog, workers=workers, wait=wait)
            return History((*self.moments, now)[-LENGTH:])
        most = (
            _most(last.backlog, backlog),
            _most(last.workers, workers),
            _most(last.wait, wait),
        )
        if most == (last.backlog, last.workers, last.wait):
            return self  # the usual case, a thousand times a second
        now = Moment(at=at, backlog=most[0], workers=most[1], wait=most[2])
        return History((*self.moments[:-1], now))


def _most(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
