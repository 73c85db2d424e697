"""What a worker answers while it does not consume, and what is read from that."""

from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.reports import MOST_SAID, not_consuming, trouble_in


@given(st.text())
def test_what_is_wrong_arrives_as_one_line_of_bounded_length(trouble: str) -> None:
    said = " ".join(trouble.split())[:MOST_SAID]

    assert trouble_in(not_consuming(trouble)) == said
    assert not_consuming(trouble).startswith(b"not consuming\n")


@given(st.binary())
def test_any_answer_can_be_read(body: bytes) -> None:
    assert len(trouble_in(body)) <= MOST_SAID


def test_a_worker_that_only_starts_has_no_trouble() -> None:
    assert trouble_in(not_consuming("")) == ""
