"""What `longshore explain` shows."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from longshore_operator.cli.explain import COLUMNS, explanation, picture
from longshore_operator.core.workers.history import Hour, Moment

NOW = 36_000.0


def shown(renderable: Any) -> list[str]:
    console = Console(width=160, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(renderable)
    return capture.get().splitlines()


def task_queue(**scaling: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "media", "name": "transcode"},
        "status": {"scaling": scaling} if scaling else {},
    }


def test_every_line_of_why_is_shown_with_the_numbers() -> None:
    why = ["7 waiting + 1 running: 8 wanted", "scaling.max lowers it to 5"]
    lines = shown(
        explanation(
            task_queue(current=3, wanted=5, since="2026-01-01T00:00:00Z", why=why), Hour(), now=NOW
        )
    )

    assert lines[0] == "media.transcode: 3 workers, 5 wanted since 2026-01-01T00:00:00Z"
    assert [line.strip() for line in lines[1:3]] == why


def test_what_is_unknown_is_not_zero() -> None:
    unread = "cannot read the history from service a/b: 403 Forbidden"
    lines = shown(explanation(task_queue(), unread, now=NOW))

    assert lines[0] == "media.transcode: ? workers, ? wanted"
    assert "403" in lines[-1]


def test_the_picture_has_the_present_on_its_right_and_the_greatest_at_full_height() -> None:
    hour = Hour(
        moments=(
            Moment(at=int(NOW) - 3580, backlog=1, workers=0),
            Moment(at=int(NOW) - 1800, backlog=80, workers=4, wait=2.5),
            Moment(at=int(NOW) - 30, backlog=0, workers=2),
        )
    )
    waiting, workers, wait, axis = shown(picture(hour, now=NOW))

    bars = waiting.split()[1]
    assert bars.startswith("▁")
    assert "█" in bars
    assert waiting.rstrip().endswith("at most 80 jobs")
    assert workers.rstrip().endswith("▄ at most 4") or "▄" in workers
    assert wait.rstrip().endswith("at most 2.5 s")
    assert wait.count("·") == COLUMNS - 1
    assert axis.split() == ["an", "hour", "ago", "now"]
