from __future__ import annotations

from longshore.worker.parent.jobs.observer import JobObserver, Observers
from longshore.worker.parent.jobs.work import Work
from tests.unit.worker.test_child import work


class Counting(JobObserver):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def ended(self, work: Work, seconds: float, /) -> None:
        self.ends.append(seconds)


def test_an_observer_is_called_for_what_it_defines_and_for_nothing_else() -> None:
    first, second = Counting(), Counting()
    observers = Observers([first, second])
    assert [*observers.started, *observers.progressed, *observers.settled] == []
    for tell in observers.ended:
        tell(work(1), 0.5)
    assert first.ends == second.ends == [0.5]
