from __future__ import annotations

from pathlib import Path

import pytest

from longshore.contract.names import TERMINATION_LOG_ENV
from longshore.worker.linux.exits import DRAINED, KILLED, ZYGOTE_GONE
from longshore.worker.parent.ending import Ending


async def test_the_first_signal_drains_and_the_second_kills() -> None:
    ending = Ending()
    ending.on_signal()
    assert ending.begun.result() == DRAINED
    assert not ending.killed.done()
    ending.on_signal()
    ending.on_signal()
    assert ending.killed.result() == KILLED


async def test_a_signal_after_an_order_to_drain_does_not_kill() -> None:
    ending = Ending()
    ending.on_drain_order()
    ending.on_drain_order()
    assert ending.begun.result() == DRAINED
    ending.on_signal()
    assert not ending.killed.done()
    ending.on_signal()
    assert ending.killed.done()


async def test_the_first_reason_gives_the_exit_code_and_a_lost_zygote_is_always_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv(TERMINATION_LOG_ENV, str(path))
    ending, late = Ending(), Ending()
    ending.on_zygote_gone("has hung up")
    ending.on_signal()
    late.on_signal()
    late.on_zygote_gone("has hung up")
    assert (ending.begun.result(), late.begun.result()) == (ZYGOTE_GONE, DRAINED)
    assert path.read_text().endswith("the zygote has hung up")
