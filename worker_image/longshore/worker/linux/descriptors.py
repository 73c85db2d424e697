"""Messages between processes that carry file descriptors.

`socket.send_fds` and `recv_fds` ignore their flags (CPython 3.11 to 3.13): they would block, and
received descriptors would leak into every program that a job starts.
"""

import _socket
import array
import os
import socket
from collections.abc import Sequence

MOST = 8
"""Maximum number of descriptors in one message."""


def send(end: socket.socket, message: bytes, *, passed: Sequence[int], flags: int) -> None:
    """Send one message with the descriptors in `passed`, which also stay open here."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))
    end.sendmsg([message], [rights] if passed else [], flags)


def receive(end: _socket.socket, size: int, *, flags: int) -> tuple[bytes, list[int]]:
    """Return the next message, of at most `size` bytes, and its descriptors; empty at the end.

    If this process may not open all of the descriptors, it gets none of them.
    """
    message, ancillary, found, _ = end.recvmsg(size, _ROOM, flags | _CLOSE_ON_EXEC)
    if not ancillary:
        return message, []
    passed = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
    if found & socket.MSG_CTRUNC:  # the kernel passes as many as fit, but a part of them is useless
        for descriptor in passed:
            os.close(descriptor)
        return message, []
    return message, list(passed)


_ROOM = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)  # joining two enum flags takes a microsecond
