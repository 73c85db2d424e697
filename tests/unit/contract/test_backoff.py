from hypothesis import given
from hypothesis import strategies as st

from longshore.contract import backoff
from longshore.contract.backoff import delay_after


def test_delays_double_from_the_first_to_the_longest() -> None:
    delays = [
        delay_after(failures, first=0.2, most=3.0, jitter=backoff.NONE, chance=0.9)
        for failures in range(1, 8)
    ]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]


def test_delays_grow_by_the_factor() -> None:
    delays = [
        delay_after(failures, first=1, most=100, factor=3.0, jitter=backoff.NONE, chance=0)
        for failures in (1, 2, 3)
    ]

    assert delays == [1, 3, 9]


def test_jitter_spreads_delays_around_or_below_their_length() -> None:
    around = [delay_after(1, first=10, most=20, chance=chance) for chance in (0, 0.5, 0.999)]
    below = [
        delay_after(1, first=10, most=20, chance=chance, jitter=backoff.BELOW)
        for chance in (0, 0.5, 0.999)
    ]

    assert [round(delay, 1) for delay in around] == [5, 10, 15]
    assert [round(delay, 1) for delay in below] == [5, 7.5, 10]


def test_no_delay_is_shorter_than_the_least_before_jitter() -> None:
    delays = [
        delay_after(failures, first=1, least=3, most=60, jitter=backoff.NONE, chance=0)
        for failures in (1, 2, 3)
    ]

    assert delays == [3, 3, 4]


def test_no_failure_yet_is_as_the_first() -> None:
    assert delay_after(0, first=10, most=20, chance=0.5) == 10


@given(st.integers(min_value=0, max_value=10**6), st.floats(min_value=0, max_value=0.999))
def test_no_number_of_failures_is_too_high(failures: int, chance: float) -> None:
    delay = delay_after(failures, first=1.0, most=60.0, chance=chance, jitter=backoff.BELOW)

    assert 0.5 <= delay <= 60.0
