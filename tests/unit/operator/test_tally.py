from longshore.contract.reports import WorkerReport
from longshore_operator.core.tally import Tally

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
