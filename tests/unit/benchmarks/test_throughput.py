"""From rounds to ratios: which medians are compared, and what becomes of bad rounds."""

import pytest

from benchmarks.worker.drains import Round
from benchmarks.worker.throughput import Spoiled, checks, completeness, summaries


def drained(contender: str, rate: float, *, prefetch: int = 32, number: int = 0) -> Round:
    return Round(
        number=number,
        contender=contender,
        queue_type="quorum",
        prefetch=prefetch,
        jobs=1000,
        measured_jobs=900,
        seconds=900 / rate,
        jobs_per_second=rate,
        worker_cpu_us=30.0,
        broker_cpu_us=None,
        other_cores=0.0,
        stop_seconds=0.1,
    )


def spoiled(contender: str) -> Spoiled:
    return Spoiled(contender=contender, queue_type="quorum", prefetch=32, fault="2 left unacked")


FIELD = [
    drained("longshore", 15_000),
    drained("longshore-quiet", 19_000),
    drained("dramatiq-processes", 8_000),
    drained("dramatiq-threads", 5_000),
    drained("aio-pika-master", 10_000),
    drained("celery-prefork", 2_500),
]


def test_rounds_of_one_contender_in_one_cell_make_one_summary() -> None:
    rounds = [drained("taskiq", rate) for rate in (5000.0, 4000.0, 4500.0)]

    (found,) = summaries([*rounds, spoiled("taskiq")])

    assert (found.contender, found.cell, found.rounds) == ("taskiq", "quorum/32", 3)
    assert found.jobs_per_second.median == 4500.0


def test_cells_are_not_mixed() -> None:
    rounds = [drained("taskiq", 4000), drained("taskiq", 9000, prefetch=128)]

    assert [each.jobs_per_second.median for each in summaries(rounds)] == [4000, 9000]


def test_ratios_are_taken_to_the_fastest_peer_in_one_process_and_to_celery() -> None:
    found = checks(FIELD, missing={})

    assert [(each.name, each.measured, each.ok) for each in found] == [
        ("quorum/32: longshore over aio-pika-master", 1.5, True),
        ("quorum/32: longshore-quiet over aio-pika-master", 1.9, False),
        ("quorum/32: longshore over celery-prefork", 6.0, True),
    ]


def test_ratios_are_taken_within_rounds() -> None:
    ours = [(1, 9000.0), (2, 20_000.0), (4, 12_000.0)]
    theirs = [(1, 6000.0), (2, 10_000.0), (3, 9000.0), (4, 4000.0)]
    rounds = [drained("longshore", rate, number=number) for number, rate in ours]
    rounds += [drained("taskiq", rate, number=number) for number, rate in theirs]

    found = checks(rounds, missing={})

    assert (found[0].measured, found[0].note) == (2.0, "1.50 to 3.00 in single rounds")


@pytest.mark.parametrize(
    ("left_out", "unmeasured"),
    [
        ("longshore-quiet", ["longshore-quiet over aio-pika-master"]),
        ("celery-prefork", ["longshore over celery-prefork"]),
        ("longshore", ["longshore over aio-pika-master", "longshore over celery-prefork"]),
    ],
)
def test_a_ratio_without_one_of_its_sides_is_unmeasured_and_not_ok(
    left_out: str, unmeasured: list[str]
) -> None:
    rounds = [each for each in FIELD if each.contender != left_out]

    found = checks(rounds, missing={})

    without = [each for each in found if each.measured is None]
    assert [each.name.removeprefix("quorum/32: ") for each in without] == unmeasured
    assert not any(each.ok for each in without)


def test_what_is_not_built_yet_is_said_in_the_note() -> None:
    rounds = [each for each in FIELD if each.contender != "longshore-quiet"]

    found = checks(rounds, missing={"longshore-quiet": "no switch yet"})

    assert found[1].note == "no switch yet"


def test_a_spoiled_round_is_counted_and_told() -> None:
    found = completeness([*FIELD, spoiled("taskiq")])

    assert (found.measured, found.target, found.ok) == (6, 7, False)
    assert found.note == "taskiq quorum/32: 2 left unacked"
