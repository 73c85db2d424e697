"""What one connection's callbacks raise is that connection's affair."""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any

import pytest

from longshore.amqp.guard import Guard


class Holder:
    """As pika's: its methods are called back, and it holds a socket."""

    def __init__(self) -> None:
        self._sock, self.far = socket.socketpair()
        self.called = asyncio.Event()

    def call(self, *_: Any) -> None:
        self.called.set()

    def fail(self, *_: Any) -> None:
        self.called.set()
        raise AssertionError("a state that cannot be")


@pytest.fixture
async def bugs() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: found.append(told))
    return found


async def test_what_any_callback_raises_is_told_and_never_reaches_the_loop(
    bugs: list[dict[str, Any]],
) -> None:
    guard = Guard(asyncio.get_running_loop())
    timer, soon, task, writer = holders = [Holder() for _ in range(4)]
    told: list[Exception] = []
    guard.on_fault = told.append
    guard.call_later(0, timer.fail)
    guard.call_soon_threadsafe(functools.partial(soon.fail, 1))
    guard.create_task(asyncio.sleep(0)).add_done_callback(task.fail)
    guard.add_writer(writer._sock.fileno(), writer.fail)
    async with asyncio.timeout(10):
        for each in holders:
            await each.called.wait()
    guard.shut()
    for each in holders:
        each._sock.close()
        each.far.close()
    assert len(told) >= 4
    assert bugs == []


async def test_after_the_end_nothing_is_called_and_no_socket_is_left(
    bugs: list[dict[str, Any]],
) -> None:
    loop = asyncio.get_running_loop()
    guard = Guard(loop)
    watched, made = Holder(), Holder()
    guard.add_reader(watched._sock.fileno(), watched.call)
    guard.call_soon_threadsafe(made.call)
    guard.call_later(0, watched.call)
    later = asyncio.Event()
    loop.call_later(0.001, later.set)
    number = watched._sock.fileno()
    guard.shut()
    # The number is another's by now; what pika still says about it counts for nothing.
    other = Holder()
    assert number in (other._sock.fileno(), other.far.fileno())
    loop.add_reader(number, other.call)
    guard.add_reader(number, watched.call)
    assert not guard.remove_reader(number)
    for end in (other._sock, other.far):
        end.send(b"x")
    async with asyncio.timeout(10):
        await other.called.wait()
        await later.wait()
    loop.remove_reader(number)
    assert not watched.called.is_set()
    assert not made.called.is_set()
    assert (watched._sock.fileno(), made._sock.fileno()) == (-1, -1)
    for end in (other._sock, other.far, watched.far, made.far):
        end.close()
    assert bugs == []
