from dataclasses import replace

import msgspec
import pytest

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling import ServiceTimes
from longshore_operator.core.workers.forgetting import LEAST as LEAST_KNOWN
from longshore_operator.core.workers.recent import LEAST, QUICKEST_OF, WINDOW, Recent


def report(worker: str = "a", *, ran: int, took: float, **parts: object) -> WorkerReport:
    values = {"queue": "q.q", "worker": worker, "started_at": 1000, "slots": 1, "busy": 0}
    more = {"held": 0, "ran": ran, "run_seconds": took}
    return msgspec.convert(values | more | parts, WorkerReport)


def learned(recent: Recent, *reports: WorkerReport, now: float = 0.0) -> Recent:
    return recent.learned({each.worker: each for each in reports}, (), now=now)


def pod(*, created: float = 100.0, restarts: int = 0) -> Pod:
    return Pod(name="a", running=True, ready=True, ending=False, created=created, restarts=restarts)


def test_the_mean_is_over_all_jobs_of_all_workers() -> None:
    recent = learned(Recent(since=0), report(ran=1, took=2.0), report("b", ran=3, took=2.0))

    assert recent.service == ServiceTimes(count=4, mean=1.0)
    assert learned(recent, report(ran=2, took=8.0)).service == ServiceTimes(count=5, mean=2.0)
    assert Recent(since=0).service is None


def test_old_jobs_count_only_while_there_are_few_new_ones() -> None:
    recent = learned(Recent(since=0), report(ran=LEAST, took=100.0), now=0)
    few = learned(recent, report(ran=LEAST + 1, took=101.0), now=2 * WINDOW)
    many = learned(few, report(ran=2 * LEAST, took=100.0 + LEAST), now=2 * WINDOW + 1)

    assert few.service == ServiceTimes(count=LEAST + 1, mean=101.0 / (LEAST + 1))
    assert many.service == ServiceTimes(count=LEAST, mean=1.0)


def test_what_was_done_before_anybody_listened_has_not_just_been_done() -> None:
    recent = learned(Recent(since=5000), report(ran=7, took=7.0))

    assert recent.finished == 0
    assert learned(recent, report(ran=9, took=9.0)).finished == 2
    assert learned(recent, report("b", ran=1, took=1.0, started_at=6000)).finished == 1


def test_a_worker_that_was_silent_or_started_anew_is_not_counted_twice() -> None:
    recent = learned(Recent(since=0), report(ran=5, took=5.0))
    again = learned(learned(recent), report(ran=6, took=6.0))

    assert again.finished == 6
    assert learned(again, report(ran=1, took=1.0, started_at=2000)).finished == 7


def test_a_start_is_timed_from_the_pods_creation_until_it_consumes() -> None:
    silent, telling = report(ran=0, took=0.0), report(ran=0, took=0.0, consuming_at=103_500)
    recent = Recent(since=0).learned({"a": silent}, [pod()], now=0)

    assert recent.startup is recent.quickest is None
    recent = recent.learned({"a": telling}, [pod()], now=1)
    assert recent.startup == recent.quickest == 3.0
    assert recent.learned({"a": telling}, [pod()], now=2).starts == (3.0,)


def test_what_a_start_waited_for_a_cpu_does_not_count() -> None:
    # Created at 100, its process began at 104 and consumed at 107: 0.4 s of CPU, 1.6 s of waiting.
    telling = report(
        ran=0, took=0.0, started_at=104_000, consuming_at=107_000, cpu_ran=0.4, cpu_waited=1.6
    )

    recent = Recent(since=0).learned({"a": telling}, [pod()], now=0)

    # 6.5 s less its own 1.6, and as much again of the 3.5 s before it.
    assert recent.startup == pytest.approx(6.5 - 1.6 - 1.6)


def test_an_image_that_is_pulled_is_not_waiting_for_a_cpu() -> None:
    telling = report(
        ran=0, took=0.0, started_at=160_000, consuming_at=162_500, cpu_ran=0.4, cpu_waited=1.2
    )

    recent = Recent(since=0).learned({"a": telling}, [pod()], now=0)

    assert recent.startup == pytest.approx(62 - 2.4)


def test_a_start_that_waits_for_something_else_is_slow_by_itself() -> None:
    telling = report(
        ran=0, took=0.0, started_at=100_500, consuming_at=140_500, cpu_ran=0.5, cpu_waited=0.5
    )

    recent = Recent(since=0).learned({"a": telling}, [pod()], now=0)

    assert recent.startup == 39.5


def test_the_quickest_start_outlives_a_crowd_that_started_together() -> None:
    recent = Recent(since=0, starts=(1.0,))
    crowd = tuple([9.0] * 20)

    after = replace(recent, starts=recent.starts + crowd)

    assert after.startup == 9.0
    assert after.quickest == 1.0


def test_starts_are_forgotten_in_the_end() -> None:
    recent = Recent(since=0, starts=(1.0, *[9.0] * (QUICKEST_OF - 1)))
    telling = report(ran=0, took=0.0, consuming_at=103_500)

    after = recent.learned({"a": telling}, [pod()], now=0)

    assert len(after.starts) == QUICKEST_OF
    assert after.quickest == 3.0


def test_a_container_that_was_started_again_says_nothing_of_starting_pods() -> None:
    telling = report(ran=0, took=0.0, consuming_at=900_000)

    assert Recent(since=0).learned({"a": telling}, [pod(restarts=1)], now=0).startup is None


def test_of_as_many_workers_as_there_can_be_no_job_ends_twice() -> None:
    """Counted anew each second, they would look like arrivals, and ask for more workers."""
    reports = {
        name: report(name, ran=100, took=1000.0, started_at=2000)
        for name in (f"w{number}" for number in range(MOST_WORKERS))
    }
    recent = Recent(since=1000).learned(reports, (), now=0.0)

    for number in range(3):
        reports[f"w{number}"] = report(f"w{number}", ran=101, took=1010.0, started_at=2000)
        recent = recent.learned(reports, (), now=1.0 + number)

    assert recent.finished == 100 * MOST_WORKERS + 3


def test_workers_that_are_gone_are_forgotten() -> None:
    recent = Recent(since=0)
    for number in range(100):
        names = [f"w{number}-{each}" for each in range(100)]
        reports = {name: report(name, ran=1, took=1.0) for name in names}
        recent = recent.learned(reports, (), now=float(number), most=10)

    assert recent.finished == 100 * 100
    assert len(recent.seen) == LEAST_KNOWN
