import pytest

from benchmarks.worker.spread import Spread, percentile, spread


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(median=3.0, min=1.0, max=10.0)


def test_the_median_of_an_even_number_of_rounds_lies_between_the_middle_two() -> None:
    assert spread([4.0, 1.0, 2.0, 9.0]).median == 3.0


def test_nothing_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least one"):
        spread([])


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param(range(1, 101), 0.5, 50, id="the middle of a hundred"),
        pytest.param(range(1, 101), 0.99, 99, id="one of a hundred is later"),
        pytest.param(range(1, 201), 0.99, 198, id="two of two hundred are later"),
        pytest.param(range(1, 51), 0.99, 50, id="of fewer than a hundred it is the greatest"),
        pytest.param([7.0], 0.5, 7.0, id="one value is every percentile"),
        pytest.param([5.0, 1.0, 3.0], 0.5, 3.0, id="order does not matter"),
        pytest.param(range(1, 101), 0.07, 7, id="0.07 times 100 is a little more than 7"),
        pytest.param(range(1, 101), 1.0, 100, id="all"),
    ],
)
def test_a_percentile_is_a_measured_value_by_nearest_rank(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 50])
def test_a_share_is_more_than_nothing_and_at_most_all(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)
