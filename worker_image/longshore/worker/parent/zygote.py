"""The parent's end of the zygote: children asked for, and buried."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from longshore.worker.control import (
    CHILD_DESCRIPTORS,
    CommandUnusable,
    Control,
    Fork,
    Forked,
    ForkFailed,
    ImportFailed,
    Ready,
    Reap,
    Reaped,
    receive_control,
    send_control,
)
from longshore.worker.frames import Mark

Answer = Ready | ImportFailed | CommandUnusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """A new child's process and the parent's ends of what they share."""

    pid: int
    pidfd: int
    near: socket.socket
    far: socket.socket
    results: socket.socket
    output: int
    mark: Mark


class Zygote:
    """Never blocks; answers come as callbacks in the event loop."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self.pid = pid
        self.on_birth: Callable[[Birth], None] = lambda _: None
        self.on_fork_failed: Callable[[str], None] = lambda _: None
        self.on_buried: Callable[[int, int], None] = lambda _pid, _status: None
        self.on_gone: Callable[[], None] = lambda: None
        self._control = control
        self._outbox: deque[Control] = deque()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Answer | None] = self._loop.create_future()
        control.setblocking(False)
        self._loop.add_reader(control, self._receive)

    async def ready(self) -> Answer | None:
        """What there is to run jobs, or why not; None when the zygote died over its imports."""
        return await self._ready

    def fork(self) -> None:
        """Ask for a child; `on_birth` or `on_fork_failed` follows."""
        self._send(Fork())

    def bury(self, pid: int) -> None:
        """Have a dead child reaped; `on_buried` follows. From here on its id may be reused."""
        self._send(Reap(pid=pid))

    def close(self) -> None:
        """Let the zygote end, and with it what children are left."""
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()

    def _send(self, message: Control) -> None:
        self._outbox.append(message)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outbox:
                send_control(self._control, self._outbox[0], flags=socket.MSG_DONTWAIT)
                self._outbox.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._control, self._flush)
            return
        except OSError:
            self._outbox.clear()  # gone; the reader sees it too
        self._loop.remove_writer(self._control)

    def _receive(self) -> None:
        try:
            received = receive_control(self._control, flags=socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if received is None:
            self._loop.remove_reader(self._control)
            if not self._ready.done():
                self._ready.set_result(None)
            self.on_gone()
            return
        match received:
            case ((Ready() | ImportFailed() | CommandUnusable()) as answer, _):
                self._ready.set_result(answer)
            case (Forked(pid=pid), descriptors):
                self.on_birth(_birth(pid, descriptors))
            case (ForkFailed(error=error), _):
                self.on_fork_failed(error)
            case (Reaped(pid=pid, status=status), _):
                self.on_buried(pid, status)
            case (other, _):
                raise AssertionError(f"the zygote never sends {other!r}")


def _birth(pid: int, descriptors: list[int]) -> Birth:
    named = dict(zip(CHILD_DESCRIPTORS, descriptors, strict=True))
    mark = Mark(named["mark"])
    os.close(named["mark"])
    os.set_blocking(named["output"], False)
    ends = {name: socket.socket(fileno=named[name]) for name in ("near", "far", "results")}
    # Not the far end: it is the child's own, and O_NONBLOCK belongs to what both have open.
    ends["near"].setblocking(False)
    ends["results"].setblocking(False)
    return Birth(pid=pid, pidfd=named["pidfd"], output=named["output"], mark=mark, **ends)
