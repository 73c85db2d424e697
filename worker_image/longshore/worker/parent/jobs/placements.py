"""Records which child has which job."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from longshore.worker.parent.jobs.work import Work

Child = TypeVar("Child")


class Placements(Generic[Child]):
    """Jobs that were handed to a child and have not ended, by id.

    One id may have several: a job whose delivery is lost may still run when it is delivered again.
    Adding and removing take time for every job, so all but the first of an id are kept separately.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[Work, Child]] = {}
        self._others: dict[str, list[tuple[Work, Child]]] = {}

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._others.values()))

    def __iter__(self) -> Iterator[Work]:
        for work, _ in self._first.values():
            yield work
        for others in self._others.values():
            for work, _ in others:
                yield work

    def add(self, work: Work, child: Child) -> None:
        """Note that `child` has `work`."""
        placement = (work, child)
        if self._first.setdefault(work.message.id, placement) is not placement:
            self._others.setdefault(work.message.id, []).append(placement)

    def remove(self, work: Work) -> None:
        """Forget `work`, which no child has any more."""
        job_id = work.message.id
        if job_id not in self._others:
            del self._first[job_id]
            return
        first, *others = (each for each in self.find(job_id) if each[0] is not work)
        self._first[job_id] = first
        if others:
            self._others[job_id] = others
        else:
            del self._others[job_id]

    def find(self, job_id: str) -> list[tuple[Work, Child]]:
        """Return each delivery of the job `job_id` that a child has, with that child."""
        if job_id not in self._first:
            return []
        return [self._first[job_id], *self._others.get(job_id, ())]
