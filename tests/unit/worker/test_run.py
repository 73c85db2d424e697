"""What a child makes of how a job ended."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.errors import Retry, Snooze
from longshore.worker.child.run import _ending_of, _Failure
from longshore.worker.frames import Status


class Busy(Retry):
    def __init__(self, after: Any) -> None:
        super().__init__("busy")
        self.after = after


class Later(Snooze):
    def __init__(self, delay: Any) -> None:
        super().__init__(0, "later")
        self.delay = delay


@pytest.mark.parametrize(
    ("wish", "seconds"), [(0, 0.0), (2, 2.0), (1.5, 1.5), ("90s", 90.0), (True, 1.0)]
)
def test_a_delay_of_a_subclass_is_read_as_that_of_its_parent(wish: object, seconds: float) -> None:
    for error, status in ((Busy(wish), Status.FAILED), (Later(wish), Status.SNOOZED)):
        ending = _ending_of(_Failure(error))
        assert (ending.status, ending.delay) == (status, seconds)
        assert isinstance(ending.delay, float)


def test_a_retry_without_a_delay_leaves_it_to_the_policy() -> None:
    ending = _ending_of(_Failure(Busy(None)))
    assert (ending.status, ending.error, ending.delay) == (Status.FAILED, "Busy: busy", None)


@pytest.mark.parametrize(
    "wish", ["30", b"30", [30], -1, float("nan"), float("inf"), 10**400, object()]
)
@pytest.mark.parametrize("kind", [Busy, Later])
def test_what_is_no_delay_fails_the_attempt_and_is_named(
    kind: type[Busy] | type[Later], wish: object
) -> None:
    ending = _ending_of(_Failure(kind(wish)))
    assert (ending.status, ending.delay) == (Status.FAILED, None)
    assert ending.error is not None
    assert "its delay cannot be used: " in ending.error
    if wish != 10**400:
        assert repr(wish) in ending.error


def test_a_snooze_needs_a_delay() -> None:
    assert _ending_of(_Failure(Later(None))).status is Status.FAILED
