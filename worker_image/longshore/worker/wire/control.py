"""All messages between the parent and the zygote: small ones, with file descriptors."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from longshore.worker.kept import from_json, to_json
from longshore.worker.limits import HandlerLimits
from longshore.worker.linux import descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The handlers' modules are imported; `handlers` has each wire name with its jobs' limits."""

    handlers: Mapping[str, HandlerLimits]
    serves_any: bool = False
    """Whether a command runs the jobs of all handlers."""

    threads: int = 1
    """Threads that run after the imports. More than one makes forking unsafe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailed:
    """The handlers' modules or the middleware cannot be served; the zygote ends."""

    what: str
    """`handlers from MODULE` or `middleware NAME`."""

    error: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandUnusable:
    """The command cannot be run; the zygote ends."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Request for a child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """Answer with a child, whose descriptors are in the order of `CHILD_DESCRIPTORS`."""

    pid: int


CHILD_DESCRIPTORS = ("near", "far", "results", "output", "mark", "pidfd")
"""Jobs' near end, jobs' far end, results, captured output, start mark, process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkFailed:
    """No child could be created."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reap:
    """Request to reap a child that is dead and whose process id is no longer needed."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """The child is reaped; `status` is as in `os.waitpid`."""

    pid: int
    status: int | None
    """None if another process has reaped it, so that its status is unknown."""


class NoControl(ValueError):
    """A message that neither the parent nor the zygote sends."""


Control = Ready | ImportFailed | CommandUnusable | Fork | Forked | ForkFailed | Reap | Reaped

_CONTROLS: dict[str, type[Control]] = {
    kind.__name__: kind
    for kind in (Ready, ImportFailed, CommandUnusable, Fork, Forked, ForkFailed, Reap, Reaped)
}


_MAX_CONTROL = 200_000
_MAX_APART = 1 << 26
_APART = b"apart"
"""Sent in place of a message that is too large, with a descriptor that holds the message."""


def send_control(
    end: socket.socket, message: Control, *, passed: Sequence[int] = (), flags: int = 0
) -> None:
    """Send one message between parent and zygote."""
    encoded = to_json([type(message).__name__, asdict(message)]).encode("ascii")
    if len(encoded) <= _MAX_CONTROL:
        descriptors.send(end, encoded, passed=passed, flags=flags)
        return
    # One message cannot hold the names of a thousand handlers (EMSGSIZE).
    memory = os.memfd_create("longshore-control")
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(encoded)
        descriptors.send(end, _APART, passed=[memory], flags=flags)
    finally:
        os.close(memory)


def receive_control(end: socket.socket, *, flags: int = 0) -> tuple[Control, list[int]] | None:
    """Return the next message and its descriptors; None if the other process is gone.

    Raises NoControl for an invalid message, and closes its descriptors.
    """
    try:
        encoded, passed = descriptors.receive(end, _MAX_CONTROL, flags=flags)
    except ConnectionResetError:
        return None
    if not encoded:
        return None
    try:
        if encoded == _APART:
            encoded = _taken(passed)
        return _decode(encoded), passed
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        for descriptor in passed:
            os.close(descriptor)
        raise NoControl(f"{encoded[:60]!r} is not a valid message: {error}") from None


def _taken(passed: list[int]) -> bytes:
    """Read and close the one descriptor. Raises ValueError if there is another number of them."""
    if len(passed) != 1:
        raise ValueError(f"{len(passed)} descriptors")
    with os.fdopen(passed.pop(), "rb") as file:
        return os.pread(file.fileno(), _MAX_APART, 0)


def _decode(encoded: bytes) -> Control:
    kind, fields = from_json(encoded.decode("ascii"))
    if kind == Ready.__name__:
        fields["handlers"] = {
            name: HandlerLimits(**limits) for name, limits in fields["handlers"].items()
        }
    message = _CONTROLS[kind](**fields)
    for name, expected in _NUMBERS.items():
        value = getattr(message, name, 0)
        if type(value) not in expected or (name == "pid" and value < 0):
            raise TypeError(f"{name} is {value!r}")
    return message


_NUMBERS: dict[str, tuple[type, ...]] = {
    "pid": (int,),
    "status": (int, type(None)),
    "threads": (int,),
}
