"""The checker finds what is wrong: each history here is good but for one thing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from chaos.checker import Findings, check
from chaos.history import Alive, Ended, Enqueued, Event, Fault, History, Left, Started
from chaos.kinds import HARD_LIMIT, KILL_GRACE, KINDS, MOST_ATTEMPTS


def enqueued(kind: str = "noop", *, at: float = 10.0, delay: float = 0.0) -> Enqueued:
    queue = KINDS[kind].queue
    return Enqueued(number=1, kind=kind, queue=queue, asked_at=at - 0.1, at=at, delay=delay)


def start(at: float, *, attempt: int = 1, pod: str = "a") -> Started:
    return Started(number=1, attempt=attempt, pod=pod, run=f"r{at}", at=at)


def end(at: float, *, of: float, way: str = "done") -> Ended:
    return Ended(run=f"r{of}", way=way, at=at)


def ran(at: float, *, way: str = "done", **given: Any) -> list[Event]:
    return [start(at, **given), end(at + 0.1, of=at, way=way)]


def fault(began: float, ended: float, **hit: Any) -> Fault:
    return Fault(kind="kill", began=began, healed=ended, ended=ended, **hit)


def findings(*events: Event) -> Findings:
    return check(History.of(events))


GOOD = [enqueued(), *ran(11.0)]
KILLED = [enqueued(), start(11.0), fault(11.5, 12.0, pods=("a",)), *ran(13.0, attempt=2)]

TWICE = [
    enqueued("overrun"),
    start(11.0),
    fault(11.5, 12.0, pods=("a",)),
    start(13.0, pod="b"),
    start(17.0, attempt=2, pod="b"),
    start(18.0, attempt=2),
    Left(number=1, where="dead", reason="hard-limit"),
    Left(number=1, where="dead", reason="hard-limit"),
]
"""The outcome of the first run was stored before its connection was lost."""

DONE_TWICE = [
    enqueued("twice"),
    *ran(11.0, way="failed"),
    fault(11.05, 12.0, pods=("a",)),
    *ran(12.5, way="failed", pod="b"),
    *ran(13.0, way="failed", attempt=2, pod="b"),
    *ran(14.0, way="failed", attempt=2, pod="b"),
    *ran(15.0, attempt=3, pod="b"),
    *ran(16.0, attempt=3, pod="b"),
]

SNOOZED = [
    enqueued("snoozes"),
    *ran(11.0, way="snoozed"),
    fault(11.05, 20.0, pods=("a",)),
    *ran(19.0, pod="b"),
    *ran(21.0, pod="b"),
]
"""The snooze of the first run was stored after its delivery had been lost."""

RETURNED = [
    enqueued("classic"),
    fault(9.5, 10.5, pods=("adopted-worker-b",)),
    *ran(11.0, pod="adopted-worker-c"),
    *ran(12.0, pod="adopted-worker-c"),
]
"""A worker that had not begun the job died between the copy that it returned and the ack."""


@pytest.mark.parametrize(
    "events",
    [
        GOOD,
        SNOOZED,
        RETURNED,
        KILLED,
        TWICE,
        DONE_TWICE,
        [enqueued(), Left(number=1, where="quick")],
        [enqueued("delayed", delay=5.0), *ran(15.0)],
        [
            enqueued("twice"),
            *ran(11.0, way="failed"),
            *ran(13.0, way="failed", attempt=2),
            *ran(15.0, attempt=3),
        ],
        [enqueued("snoozes"), *ran(11.0, way="snoozed"), *ran(13.0)],
        [
            enqueued("crashes"),
            start(11.0),
            start(13.0, attempt=2),
            Left(number=1, where="dead", reason="worker-lost"),
        ],
        [
            enqueued("overrun"),
            start(11.0, attempt=2),
            fault(10.5, 10.6, pods=("b",)),
            Alive(run="r11.0", at=11.0 + HARD_LIMIT + KILL_GRACE),
            Left(number=1, where="dead", reason="hard-limit"),
        ],
        [enqueued(), *ran(11.0), fault(11.05, 12.0, pods=None), *ran(13.0, attempt=2)],
        [enqueued(), *ran(11.0), fault(11.05, 12.0, queues=("quick",)), *ran(13.0)],
    ],
    ids=[
        "done",
        "snoozed-and-repeated",
        "returned-twice",
        "killed-and-repeated",
        "goes-on-twice-after-a-lost-connection",
        "is-done-twice-after-a-lost-connection",
        "still-queued",
        "delayed",
        "fails-twice",
        "snoozes",
        "crashes",
        "waited-where-a-worker-was-killed",
        "repeated-after-its-ack-was-lost",
        "repeated-after-its-queue-was-hit",
    ],
)
def test_a_history_in_which_all_is_well_has_no_findings(events: list[Event]) -> None:
    assert findings(*events).is_clean


def test_a_job_that_was_confirmed_and_never_seen_again_is_lost() -> None:
    assert "neither done nor queued; it never began" in findings(enqueued()).lost[0]


def test_a_job_that_no_queue_took_after_its_delay_is_lost() -> None:
    stray = Left(number=1, where="lost")
    assert "is in longshore.lost" in findings(enqueued("delayed", delay=5.0), stray).lost[0]
    assert not findings(enqueued(), *ran(11.0), stray).lost


def test_a_job_whose_only_run_was_cut_short_is_lost() -> None:
    said = findings(enqueued(), start(11.0), fault(11.5, 12.0, pods=("a",))).lost
    assert "attempt 1, had not ended" in said[0]


def test_a_job_that_has_failed_and_is_gone_is_lost() -> None:
    assert findings(enqueued("twice"), *ran(11.0, way="failed")).lost


def test_a_job_of_which_no_confirm_came_is_nobodys_promise() -> None:
    assert findings(*ran(11.0)).jobs == 0


@pytest.mark.parametrize(
    "hit",
    [
        {"pods": ("b",)},
        {"queues": ("slow",)},
        {"pods": (), "queues": ()},
    ],
    ids=["another-worker", "another-queue", "nobody"],
)
def test_a_fault_that_hit_somebody_else_explains_no_repeat(hit: dict[str, Any]) -> None:
    events = [enqueued(), start(11.0), fault(11.5, 12.0, **hit), *ran(13.0, attempt=2)]
    assert len(findings(*events).unexplained) == 1


@pytest.mark.parametrize(("began", "ended"), [(5.0, 10.9), (13.1, 14.0)], ids=["before", "after"])
def test_a_fault_at_another_time_explains_no_repeat(began: float, ended: float) -> None:
    events = [enqueued(), start(11.0), *ran(13.0, attempt=2), fault(began, ended, pods=None)]
    assert len(findings(*events).unexplained) == 1


def test_a_worker_that_was_cut_off_may_begin_what_it_had_been_given_before() -> None:
    events = [enqueued(), fault(10.5, 12.9, pods=("b",)), *ran(11.0), *ran(12.8, pod="b")]
    assert findings(*events).unexplained == []


@pytest.mark.parametrize(
    "events",
    [
        [fault(11.05, 12.9, pods=("b",)), *ran(11.0), *ran(12.8, pod="b")],
        [fault(10.5, 12.5, pods=("b",)), *ran(11.0), *ran(12.8, pod="b")],
        [fault(10.5, 12.9, pods=("c",)), *ran(11.0), *ran(12.8, pod="b")],
        [fault(10.5, 12.9, pods=("b",)), *ran(11.0), *ran(12.8, pod="b", attempt=2)],
    ],
    ids=["too late", "over", "another worker", "another attempt"],
)
def test_only_what_cut_it_off_in_time_explains_that(events: list[Event]) -> None:
    found = findings(enqueued(), *events)
    assert found.unexplained or found.illegal


def test_a_job_that_runs_again_after_its_end_is_unexplained() -> None:
    assert len(findings(*GOOD, *ran(13.0)).unexplained) == 1


def test_a_job_whose_confirm_was_lost_may_run_once_more() -> None:
    lost = fault(9.95, 9.98, pods=None, queues=None)
    twice = [enqueued(), *ran(11.0), *ran(13.0)]
    assert not findings(*twice, lost).unexplained
    assert not findings(*GOOD, Left(number=1, where="quick"), lost).unexplained
    interleaved = [
        enqueued("twice"),
        *(event for at in (11.0, 11.5) for event in ran(at, way="failed")),
        *(event for at in (13.0, 13.5) for event in ran(at, way="failed", attempt=2)),
        *(event for at in (15.0, 15.5) for event in ran(at, attempt=3)),
    ]
    assert not findings(*interleaved, lost).unexplained
    assert not findings(*interleaved, lost).illegal


@pytest.mark.parametrize(
    "events",
    [
        [*GOOD, *ran(13.0), *ran(15.0), fault(9.95, 9.98, pods=None, queues=None)],
        [*GOOD, *ran(13.0), fault(9.95, 9.98, pods=("a",))],
        [*GOOD, *ran(13.0), fault(9.95, 9.98, pods=None, queues=("slow",))],
        [*GOOD, *ran(13.0), fault(9.0, 9.5, pods=None, queues=None)],
        [*GOOD, *[Left(number=1, where="quick")] * 2, fault(9.95, 9.98, pods=None, queues=None)],
        [
            dataclasses.replace(enqueued(), asked_at=9.99),
            *ran(11.0),
            *ran(13.0),
            fault(9.95, 9.998, pods=None, queues=None),
        ],
    ],
    ids=["three-runs", "a-worker", "a-user", "earlier", "two-copies", "a-quick-confirm"],
)
def test_a_lost_confirm_explains_no_more_than_one_copy(events: list[Event]) -> None:
    assert len(findings(*events).unexplained) == 1


@pytest.mark.parametrize(
    "events",
    [
        [*SNOOZED[:3], *SNOOZED[4:]],
        [*SNOOZED, *ran(22.0, pod="b")],
        [*SNOOZED[:3], fault(11.05, 20.0, pods=("b",)), *ran(21.0, pod="c"), *ran(22.0, pod="c")],
    ],
    ids=["without-a-fault", "a-third-time", "another-worker"],
)
def test_a_snooze_is_followed_once_and_repeated_by_a_fault_alone(events: list[Event]) -> None:
    assert findings(*events).unexplained


@pytest.mark.parametrize(
    "events",
    [
        [RETURNED[0], *RETURNED[2:]],
        [*RETURNED, *ran(13.0, pod="adopted-worker-c")],
        [RETURNED[0], fault(9.5, 10.5, pods=("quick-worker-b",)), *RETURNED[2:]],
        [RETURNED[0], fault(11.6, 11.7, pods=("adopted-worker-b",)), *RETURNED[2:]],
    ],
    ids=["without-a-fault", "three-runs", "another-queue", "after-it-began"],
)
def test_a_worker_that_had_not_begun_a_job_leaves_one_copy_at_most(events: list[Event]) -> None:
    assert findings(*events).unexplained


def test_a_lost_connection_explains_no_third_row_of_attempts() -> None:
    (found,) = findings(*DONE_TWICE, *ran(17.0, attempt=3, pod="b")).unexplained
    assert "after attempt 3" in found


def test_a_copy_of_a_job_that_is_done_is_unexplained() -> None:
    assert len(findings(*GOOD, Left(number=1, where="quick")).unexplained) == 1


def test_two_dead_letters_of_one_job_are_unexplained() -> None:
    letter = Left(number=1, where="dead", reason="worker-lost")
    events: list[Event] = [enqueued("crashes"), start(11.0), start(13.0, attempt=2), letter, letter]
    assert len(findings(*events).unexplained) == 1


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([enqueued(), Left(number=1, where="dead", reason="max-attempts")], "dead of"),
        ([*GOOD, Left(number=1, where="dead", reason="expired")], "dead of 'expired'"),
        ([enqueued("crashes"), *ran(11.0)], "never succeeds"),
        ([enqueued("delayed", delay=5.0), *ran(14.0)], "0.90 s early"),
        ([enqueued(), *ran(9.0)], "early"),
        ([enqueued(), *ran(11.0, attempt=0)], "began attempt 0"),
        ([enqueued(), *ran(11.0, attempt=MOST_ATTEMPTS + 1)], "began attempt 21 of 20"),
        ([enqueued(), *ran(11.0, attempt=2)], "charged for 1 attempts before"),
        (
            [enqueued(), fault(10.5, 10.6, pods=("a",)), *ran(11.0, attempt=3)],
            "charged for 2 attempts before",
        ),
        (
            [enqueued("twice"), *ran(11.0, way="failed"), *ran(13.0, way="failed")],
            "from attempt 1 to 1",
        ),
        (
            [enqueued("snoozes"), *ran(11.0, way="snoozed"), *ran(13.0, attempt=2)],
            "from attempt 1 to 2",
        ),
        ([*TWICE, start(19.0, attempt=2, pod="b")], "from attempt 2 to 2"),
        ([event for event in TWICE if not isinstance(event, Fault)], "from attempt 1 to 1"),
        (
            [
                enqueued("overrun"),
                start(11.0),
                Alive(run="r11.0", at=11.5),
                Left(number=1, where="dead", reason="hard-limit"),
            ],
            "before its limit",
        ),
    ],
    ids=[
        "dead-instead-of-done",
        "done-and-dead",
        "done-instead-of-dead",
        "before-its-delay",
        "before-it-was-enqueued",
        "attempt-zero",
        "past-its-attempts",
        "charged-unrun",
        "charged-twice-for-one-fault",
        "failure-not-charged",
        "snooze-charged",
        "goes-on-thrice",
        "goes-on-twice-for-no-reason",
        "killed-early",
    ],
)
def test_what_no_job_may_do_is_illegal(events: list[Event], words: str) -> None:
    assert words in " ".join(findings(*events).illegal)


def test_a_job_that_outlives_its_limit_is_a_late_kill() -> None:
    late = Alive(run="r11.0", at=11.0 + HARD_LIMIT + KILL_GRACE + 1.5)
    dead = Left(number=1, where="dead", reason="hard-limit")
    events: list[Event] = [enqueued("overrun"), start(11.0), start(19.0, attempt=2), late, dead]
    assert "by 1.50 s on a" in findings(*events).late_kills[0]
    stopped = fault(12.0, 14.0, pods=("a",))
    assert findings(*events, stopped).late_kills == []


def test_a_pause_lasts_from_a_faults_end_to_the_next_job_done() -> None:
    (pause,) = findings(*KILLED).pauses
    assert (pause.fault, pause.restarts_rabbitmq) == ("kill", False)
    assert pause.seconds == pytest.approx(1.1)


def test_work_that_never_resumes_has_paused_until_the_end() -> None:
    done = [enqueued(), *ran(11.0)]
    (pause,) = findings(
        *done, fault(12.0, 13.0), dataclasses.replace(enqueued(at=60.0), number=2)
    ).pauses
    assert pause.seconds == pytest.approx(47.0)


def test_a_pause_that_another_fault_may_have_made_is_not_measured() -> None:
    found = findings(*KILLED, fault(12.5, 12.6, pods=())).pauses
    assert [pause.seconds for pause in found] == [pytest.approx(0.5)]


def test_events_may_come_in_any_order() -> None:
    assert findings(*reversed(KILLED)) == findings(*KILLED)


def test_a_fault_that_lasts_beyond_the_run_explains_it() -> None:
    events = [replace(event, ended=99.0) if isinstance(event, Fault) else event for event in KILLED]
    assert findings(*events).is_clean
