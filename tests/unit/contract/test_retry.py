from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.retry import RetryPolicy


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy(initial_delay=10, max_delay=60, factor=2, jitter=0)

    assert [policy.delay_after(n, chance=0.5) for n in range(1, 6)] == [10, 20, 40, 60, 60]


def test_jitter_lengthens_and_shortens_by_its_share() -> None:
    policy = RetryPolicy(initial_delay=100, jitter=0.25)

    assert policy.delay_after(1, chance=0.0) == 75
    assert policy.delay_after(1, chance=0.5) == 100
    assert 124.9 < policy.delay_after(1, chance=0.9999) < 125


@given(st.integers(min_value=1, max_value=10**6), st.floats(min_value=0, max_value=0.999))
def test_no_attempt_is_too_high_to_count(attempt: int, chance: float) -> None:
    policy = RetryPolicy(max_delay=3600, jitter=0.5)

    assert 0 < policy.delay_after(attempt, chance=chance) <= 3600 * 1.5
