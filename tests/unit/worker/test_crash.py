"""Bugs of the worker's own end it, wherever they show."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from longshore.worker.linux.exits import Exit
from longshore.worker.parent import crash

pytestmark = pytest.mark.virtual_time

Loop = asyncio.AbstractEventLoop


def by_timer(loop: Loop, callback: Callable[[], None]) -> None:
    loop.call_later(0, callback)


def by_reader(loop: Loop, callback: Callable[[], None]) -> None:
    near, far = os.pipe()

    def read() -> None:
        loop.remove_reader(near)
        os.close(near)
        callback()

    loop.add_reader(near, read)
    os.write(far, b"x")
    os.close(far)


def by_task(loop: Loop, callback: Callable[[], None]) -> None:
    task = loop.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: callback())


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    return codes


@pytest.mark.parametrize("way", [by_timer, by_reader, by_task])
async def test_a_callback_that_fails_ends_the_worker(codes: list[int], way: Any) -> None:
    loop = asyncio.get_running_loop()
    crash.watch_callbacks(loop)

    def fail() -> None:
        raise TypeError("a bug")

    way(loop, fail)
    await asyncio.sleep(0.05)
    assert codes == [Exit.CRASHED]


async def test_a_connection_that_breaks_does_not(codes: list[int]) -> None:
    loop = asyncio.get_running_loop()
    crash.watch_callbacks(loop)
    loop.call_exception_handler({"message": "no descriptor left", "exception": OSError(24, "")})
    assert codes == []
