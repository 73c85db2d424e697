from __future__ import annotations

from pathlib import Path

import pytest

from longshore.contract.names import TERMINATION_LOG_ENV
from longshore.worker.linux.exits import Exit
from longshore.worker.parent.shutdown import Shutdown


async def test_the_first_signal_drains_and_the_second_kills() -> None:
    shutdown = Shutdown()
    shutdown.on_signal()
    assert shutdown.begun.result() == Exit.DRAINED
    assert not shutdown.killed.done()
    shutdown.on_signal()
    shutdown.on_signal()
    assert shutdown.killed.result() == Exit.KILLED


async def test_a_signal_after_an_order_to_drain_does_not_kill() -> None:
    shutdown = Shutdown()
    shutdown.on_drain_order()
    shutdown.on_drain_order()
    assert shutdown.begun.result() == Exit.DRAINED
    shutdown.on_signal()
    assert not shutdown.killed.done()
    shutdown.on_signal()
    assert shutdown.killed.done()


async def test_the_first_reason_gives_the_exit_code_and_a_lost_zygote_is_always_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv(TERMINATION_LOG_ENV, str(path))
    shutdown, late = Shutdown(), Shutdown()
    shutdown.on_zygote_gone("has hung up")
    shutdown.on_signal()
    late.on_signal()
    late.on_zygote_gone("has hung up")
    assert (shutdown.begun.result(), late.begun.result()) == (Exit.ZYGOTE_GONE, Exit.DRAINED)
    assert path.read_text().endswith("the zygote has hung up")
