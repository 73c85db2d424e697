import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.core.scaling.budget import Claim, allotted


def claim(wanted: int, current: int = 0, *, weight: int = 1) -> Claim:
    return Claim(wanted=wanted, weight=weight, current=current)


@pytest.mark.parametrize(
    ("limit", "claims", "expected"),
    [
        pytest.param(10, [claim(3), claim(4)], [3, 4], id="enough for all"),
        pytest.param(10, [claim(20), claim(20)], [5, 5], id="halves"),
        pytest.param(9, [claim(20, weight=2), claim(20)], [6, 3], id="by weight"),
        pytest.param(10, [claim(2), claim(20), claim(20)], [2, 4, 4], id="what one leaves"),
        pytest.param(7, [claim(9), claim(9)], [4, 3], id="an odd one"),
        pytest.param(10, [claim(20, 10), claim(20, 0)], [5, 0], id="not before others are idle"),
        pytest.param(10, [claim(20, 7), claim(20, 0)], [5, 3], id="only what is free"),
        pytest.param(0, [claim(5)], [0], id="nothing"),
    ],
)
def test_sharing(limit: int, claims: list[Claim], expected: list[int]) -> None:
    assert list(allotted(limit, dict(enumerate(claims))).values()) == expected


CLAIMS = st.lists(
    st.builds(
        Claim,
        wanted=st.integers(0, 50),
        weight=st.integers(1, 10),
        current=st.integers(0, 50),
    ),
    max_size=8,
)


@given(limit=st.integers(0, 100), claims=CLAIMS)
def test_growing_never_exceeds_the_budget(limit: int, claims: list[Claim]) -> None:
    given_to = allotted(limit, dict(enumerate(claims)))
    after = sum(max(given_to[n], each.current) for n, each in enumerate(claims))

    assert after <= max(limit, sum(each.current for each in claims))
    assert sum(given_to.values()) <= limit
    assert all(given_to[n] <= each.wanted for n, each in enumerate(claims))


@given(limit=st.integers(0, 100), claims=CLAIMS)
def test_nothing_is_left_over_that_somebody_wants(limit: int, claims: list[Claim]) -> None:
    """Once all that is idle was given back."""
    waiting = [Claim(wanted=each.wanted, weight=each.weight, current=0) for each in claims]
    given_to = allotted(limit, dict(enumerate(waiting)))

    assert sum(given_to.values()) == min(limit, sum(each.wanted for each in claims))
