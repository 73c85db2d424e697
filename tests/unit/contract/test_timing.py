from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.features import Features, features_of
from longshore.contract.timing import ACK_MARGIN, Timeouts, derive, most_held, whole_heartbeat

V4_0, V4_3 = features_of("4.0.5"), features_of("4.3.6")


def chain(hard: float = 7200, **changes: object) -> Timeouts:
    given_numbers: dict[str, Any] = {
        "hard_limit": hard,
        "soft_limit": None,
        "kill_grace": 5,
        "slots": 1,
        "prefetch": None,
        "requeue_on_termination": False,
        "features": V4_3,
    }
    return derive(**{**given_numbers, **changes})


def test_two_hours_worked_by_hand() -> None:
    assert chain(7200, soft_limit=6900) == Timeouts(
        soft_limit=6900,
        hard_limit=7200,
        gone=7205,
        ack_timeout=7325,
        prefetch=1,
        termination_grace=7235,
        evictable=False,
    )


@pytest.mark.parametrize(("features", "seconds"), [(V4_3, 300), (V4_0, 360)])
def test_short_jobs_keep_the_ack_timeout_that_rabbitmq_advises(
    features: Features, seconds: float
) -> None:
    assert chain(10, features=features).ack_timeout == seconds


def test_requeue_ends_a_pod_long_before_its_job_would() -> None:
    assert chain(7200, requeue_on_termination=True).termination_grace == 65


@pytest.mark.parametrize(("hard", "evictable"), [(600, True), (601, False)])
def test_only_jobs_that_an_autoscaler_waits_for_may_be_evicted(
    hard: float, *, evictable: bool
) -> None:
    assert chain(hard).evictable is evictable


@given(
    hard=st.floats(min_value=1, max_value=1e6),
    grace=st.floats(min_value=0, max_value=600),
    slots=st.integers(min_value=1, max_value=64),
    prefetch=st.one_of(st.none(), st.integers(min_value=1, max_value=512)),
    features=st.sampled_from([V4_0, V4_3]),
)
def test_each_timeout_outlasts_the_one_before(
    hard: float, grace: float, slots: int, prefetch: int | None, features: Features
) -> None:
    limits = chain(hard, kill_grace=grace, slots=slots, prefetch=prefetch, features=features)

    assert limits.hard_limit <= limits.gone < limits.termination_grace
    # Even the job that waits behind all others is over before the broker takes it back.
    behind = -(-limits.prefetch // slots)
    assert limits.ack_timeout >= behind * limits.gone + ACK_MARGIN - 1e-6


def test_prefetch_is_one_job_for_each_slot() -> None:
    assert chain(slots=4).prefetch == 4


@pytest.mark.parametrize(("hard", "held"), [(5, 60), (10, 40), (55, 10), (600, 2), (7200, 2)])
def test_automatic_prefetch_grows_as_far_as_the_ack_timeout_allows(hard: float, held: int) -> None:
    limits = chain(hard, slots=2)

    most = most_held(hard_limit=hard, kill_grace=5, slots=2, ack_timeout=limits.ack_timeout)

    assert most == held
    assert most / 2 * limits.gone <= limits.ack_timeout


@pytest.mark.parametrize(
    ("seconds", "whole"), [(0.4, 1), (1.4, 1), (30.0, 30), (64_800.0, 64_800), (86_400.0, 65_535)]
)
def test_a_heartbeat_is_never_none_and_has_room_in_sixteen_bits(seconds: float, whole: int) -> None:
    assert whole_heartbeat(seconds) == whole
