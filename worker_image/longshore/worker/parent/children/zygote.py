"""The parent's side of the zygote, which forks and reaps children on request."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from longshore.worker.limits import HandlerLimits
from longshore.worker.linux.exits import describe_exit
from longshore.worker.wire.control import (
    CHILD_DESCRIPTORS,
    CommandUnusable,
    Fork,
    Forked,
    ForkFailed,
    ImportFailed,
    NoControl,
    Ready,
    Reap,
    Reaped,
    receive_control,
    send_control,
)
from longshore.worker.wire.frames import Mark

Answer = Ready | ImportFailed | CommandUnusable

ANSWER_TIMEOUT = 30.0
"""Seconds without an answer to a request, after which the zygote counts as gone. A fork takes a
millisecond, or a second on a badly overcommitted node."""

REAP_TIMEOUT = 1.0
"""Seconds to wait for the status of a child whose zygote is gone. The kernel makes it our child,
unless another process has reaped it."""

HANG_UP_GRACE = 0.5
"""Seconds between the end of the zygote's socket and that of its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """A new child's process, and the parent's ends of what they share."""

    pid: int
    pidfd: int
    near: socket.socket
    far: socket.socket
    results: socket.socket
    output: int
    mark: Mark


class Asker(Protocol):
    """Requests a child, and is notified of the result."""

    def on_birth(self, birth: Birth) -> None:
        """Called when the child has been created."""

    def on_fork_failed(self, error: str) -> None:
        """Called when the child could not be created."""


class Zygote:
    """Requests children from the zygote; never blocks. Answers arrive in the event loop, so a
    zygote can be created before the pool that needs children.

    It is gone when it has died, has hung up, does not answer or sends an invalid message. Then
    `gone` is done, `fault` says why, and no more requests are sent.
    """

    def __init__(self, control: socket.socket, pid: int) -> None:
        self.pid = pid
        self.handlers: dict[str, HandlerLimits] = {}
        """The handlers that the imports found, by wire name; empty before `ready` returns."""

        self.fault = ""
        """Why the zygote is gone, as `has …`."""

        self._control = control
        self._outbox: deque[Fork | Reap] = deque()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Answer | None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._is_closed = False
        self._asked: deque[Asker] = deque()
        """Who requested the children that have not been created yet, in order."""

        self._statuses: dict[int, asyncio.Future[int | None]] = {}
        """How children ended, by process id."""

        self._unanswered = 0
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        control.setblocking(False)
        self._loop.add_reader(control, self._receive)

    async def ready(self) -> Answer | None:
        """Return the result of the imports; None if the zygote died during them."""
        return await self._ready

    def fork(self, asker: Asker) -> None:
        """Request a child; `on_birth` or `on_fork_failed` follows, unless the zygote is gone."""
        if self._ask(Fork()):
            self._asked.append(asker)

    async def reap(self, pid: int) -> int | None:
        """Have a dead child reaped; return its status, as in `os.waitpid`.

        Returns None if the status is unknown, as when the zygote is gone. After this call the
        process id may be reused.
        """
        self._ask(Reap(pid=pid))
        status = self._statuses[pid]
        ends: set[asyncio.Future[Any]] = {status, self.gone}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not status.done():
            await asyncio.wait({status}, timeout=REAP_TIMEOUT)
        del self._statuses[pid]
        return status.result() if status.done() else None

    def on_exit(self, pid: int, status: int) -> None:
        """Note that the parent has reaped the zygote, or a child that the zygote left behind."""
        if pid == self.pid:
            self._on_own_exit(status)
        else:
            self._on_status(pid, status)

    def _on_own_exit(self, status: int) -> None:
        # Its end of the socket may still be open in a process that it left behind, or its last
        # messages may be unread.
        while not self._is_closed and not self.gone.done() and self._receive():
            pass
        how = describe_exit(status)
        self._leave(f"was {how}" if how.startswith("killed") else f"has {how}")

    def close(self) -> None:
        """Let the zygote end, together with any children that are left."""
        self._is_closed = True
        if self._watch:
            self._watch.cancel()
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()

    def _ask(self, message: Fork | Reap) -> bool:
        """Send a request; return False if the zygote is gone."""
        if self._is_closed or self.gone.done():
            return False
        if not self._unanswered:
            self._heard_at = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(ANSWER_TIMEOUT, self._look)
        self._unanswered += 1
        self._outbox.append(message)
        self._flush()
        return True

    def _look(self) -> None:
        self._watch = None
        if not self._unanswered or self.gone.done():
            return
        due = self._heard_at + ANSWER_TIMEOUT
        if self._loop.time() >= due:
            self._leave(f"has not answered for {ANSWER_TIMEOUT:g} s")
        else:
            self._watch = self._loop.call_at(due, self._look)

    def _flush(self) -> None:
        try:
            while self._outbox:
                send_control(self._control, self._outbox[0], flags=socket.MSG_DONTWAIT)
                self._outbox.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._control, self._flush)
            return
        except OSError:
            self._outbox.clear()  # the zygote is gone, as the reader notices too
        self._loop.remove_writer(self._control)

    def _leave(self, fault: str) -> None:
        """Record that the zygote is gone."""
        if self._is_closed or self.gone.done():
            return
        self.fault = fault
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._outbox.clear()
        self.gone.set_result(None)
        if not self._ready.done():
            self._ready.set_result(None)

    def _receive(self) -> bool:
        """Take in one message, if there is one."""
        try:
            received = receive_control(self._control, flags=socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except NoControl as fault:
            self._leave(f"has sent an invalid message: {fault}")
            return False
        if received is None:
            self._loop.remove_reader(self._control)
            # If it has died, its status will follow and says more.
            self._loop.call_later(HANG_UP_GRACE, self._leave, "has hung up")
            return False
        message, descriptors = received
        match message:
            case Ready() | ImportFailed() | CommandUnusable() if not self._ready.done():
                if isinstance(message, Ready):
                    self.handlers.update(message.handlers)
                self._ready.set_result(message)
            case Forked(pid=pid) if self._asked:
                self._answered()
                self._on_forked(pid, descriptors, self._asked.popleft())
            case ForkFailed(error=error) if self._asked:
                self._answered()
                self._asked.popleft().on_fork_failed(error)
            case Reaped(pid=pid, status=status):
                self._answered()
                self._on_status(pid, status)
            case _:
                self._leave(f"has sent an unexpected message: {message!r}"[:200])
                return False
        return True

    def _answered(self) -> None:
        self._unanswered = max(0, self._unanswered - 1)
        self._heard_at = self._loop.time()

    def _on_status(self, pid: int, status: int | None) -> None:
        waiting = self._statuses.get(pid)
        if waiting and not waiting.done():
            waiting.set_result(status)

    def _on_forked(self, pid: int, descriptors: list[int], asker: Asker) -> None:
        try:
            birth = _birth(pid, descriptors)
        except (OSError, ValueError) as error:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            # Nobody has requested that it be reaped, so its id is still its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            self._ask(Reap(pid=pid))
            asker.on_fork_failed(f"cannot use the child {pid}: {error}")
        else:
            self._statuses[pid] = self._loop.create_future()
            asker.on_birth(birth)


def _birth(pid: int, descriptors: list[int]) -> Birth:
    """Use a child's descriptors. Raises OSError or ValueError if they are not the right ones."""
    if len(descriptors) != len(CHILD_DESCRIPTORS):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise OSError(errno.EMFILE, f"its descriptors are lost; at most {most} may be open")
    named = dict(zip(CHILD_DESCRIPTORS, descriptors, strict=True))
    mark = Mark(named["mark"])
    ends: dict[str, socket.socket] = {}
    try:
        for name in ("near", "far", "results"):
            ends[name] = socket.socket(fileno=named[name])
        os.set_blocking(named["output"], False)
        # Not the far end: it is the child's own, and both processes share its O_NONBLOCK flag.
        ends["near"].setblocking(False)
        ends["results"].setblocking(False)
    except OSError:
        for end in ends.values():
            end.detach()
        mark.close()
        raise
    os.close(named["mark"])
    return Birth(pid=pid, pidfd=named["pidfd"], output=named["output"], mark=mark, **ends)
