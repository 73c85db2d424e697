from __future__ import annotations

from longshore.worker.parent.children.pace import HAND_AHEAD, Pace


def test_nothing_is_handed_ahead_before_a_job_has_ended() -> None:
    assert Pace().depth == 1


def test_short_jobs_are_handed_ahead_and_long_ones_are_not() -> None:
    pace = Pace()
    pace.note(0.0001)
    assert pace.depth == HAND_AHEAD
    for _ in range(100):
        pace.note(0.005)
    assert pace.depth == 4
    pace.note(60)
    assert pace.depth == 1
