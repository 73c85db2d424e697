"""The worker's log is written by a thread of its own, which never holds up who logs."""

from __future__ import annotations

import json
import os

import pytest

from longshore.worker.parent import logs
from longshore.worker.parent.logs import LogWriter


def test_lines_that_find_no_room_are_counted_in_a_line_of_the_same_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING", 2)
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    for number in range(5):
        writer.put(f'{{"event": "{number}"}}\n')
    writer._thread.start()
    writer.stop()
    os.close(writing)

    with os.fdopen(reading) as file:
        first, second, dropped = (json.loads(line) for line in file)

    assert [first["event"], second["event"]] == ["0", "1"]
    assert (dropped["event"], dropped["level"], dropped["lines"]) == (
        *("log-lines-dropped", "error"),
        3,
    )
    assert dropped["time"].endswith("+00:00")
