from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.workers.forgetting import LEAST
from longshore_operator.core.workers.tally import Tally

SINCE = 1000


def report(worker: str, succeeded: int, failed: int = 0, *, started_at: int = 2000) -> WorkerReport:
    return WorkerReport(
        queue="a.b",
        worker=worker,
        started_at=started_at,
        slots=1,
        busy=0,
        held=0,
        succeeded=succeeded,
        failed=failed,
    )


def counted(tally: Tally, *reports: WorkerReport) -> Tally:
    return tally.counted(reports)


def test_jobs_are_counted_over_workers_that_come_and_go() -> None:
    tally = Tally(since=SINCE, succeeded=10)
    for reports in ([report("a", 1)], [report("a", 3), report("b", 5, 1)], [report("b", 6, 1)]):
        tally = counted(tally, *reports)

    assert (tally.succeeded, tally.failed) == (10 + 3 + 6, 1)


def test_the_first_word_of_a_new_worker_counts_in_full() -> None:
    assert counted(Tally(since=SINCE), report("a", 1)).succeeded == 1


def test_what_was_done_before_the_operator_listened_is_not_counted_twice() -> None:
    tally = counted(Tally(since=SINCE, succeeded=10), report("a", 8, started_at=500))

    assert tally.succeeded == 10
    assert counted(tally, report("a", 9, started_at=500)).succeeded == 11


def test_a_container_that_starts_again_counts_from_zero() -> None:
    tally = counted(Tally(since=SINCE), report("a", 2))

    assert counted(tally, report("a", 3, started_at=9000)).succeeded == 5


def test_a_worker_that_was_silent_for_a_while_is_not_counted_again() -> None:
    tally = counted(counted(Tally(since=SINCE), report("a", 8)))

    assert counted(tally, report("a", 9)).succeeded == 9


def test_of_as_many_workers_as_there_can_be_each_job_is_counted_once() -> None:
    """Also if each second only one of them has news."""
    workers = [report(f"w{number}", 100) for number in range(MOST_WORKERS)]
    tally = counted(Tally(since=SINCE), *workers)

    for number in range(3):
        workers[number] = report(f"w{number}", 101)
        tally = counted(tally, *workers)

    assert tally.succeeded == 100 * MOST_WORKERS + 3


def test_workers_that_are_gone_are_forgotten() -> None:
    tally = Tally(since=SINCE)
    for number in range(100):
        tally = tally.counted([report(f"w{number}-{each}", 1) for each in range(100)], most=10)

    assert tally.succeeded == 100 * 100
    assert len(tally.seen) == LEAST
