import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0), ("168h", 604_800)],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1d", "-1s", "1h 30m", "s", "1.s", "90S", "1h\n"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 90s, 15m or 1h30m"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_every_millisecond_survives_writing_and_reading(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds
