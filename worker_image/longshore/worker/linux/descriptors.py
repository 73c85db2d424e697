"""Messages between processes that carry file descriptors.

`socket.send_fds` and `recv_fds` drop their flags (CPython 3.11 to 3.13): they would block, and what
they receive would leak into every program that a job starts.
"""

import _socket
import array
import os
import socket
from collections.abc import Sequence

MOST = 8
"""Descriptors that one message may carry."""


def send(end: socket.socket, message: bytes, *, passed: Sequence[int], flags: int) -> None:
    """Send one message and the descriptors in `passed`, which stay open here too."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))
    end.sendmsg([message], [rights] if passed else [], flags)


def receive(end: _socket.socket, size: int, *, flags: int) -> tuple[bytes, list[int]]:
    """The next message, of at most `size` bytes, and its descriptors; empty at the end.

    Where this process may not open as many, there are fewer descriptors than were sent: none.
    """
    message, ancillary, found, _ = end.recvmsg(size, _ROOM, flags | _CLOSE_ON_EXEC)
    if not ancillary:
        return message, []
    passed = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
    if found & socket.MSG_CTRUNC:  # the kernel gives what it can; one is of no use without another
        for descriptor in passed:
            os.close(descriptor)
        return message, []
    return message, list(passed)


_ROOM = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)  # two enum flags take a microsecond to be joined
