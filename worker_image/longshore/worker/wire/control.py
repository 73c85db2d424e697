"""All that the parent and the zygote say to each other: small messages with file descriptors."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from longshore.worker.kept import from_json, to_json
from longshore.worker.limits import HandlerLimits
from longshore.worker.linux import descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The handlers' modules are imported: wire names with what their jobs may take."""

    handlers: Mapping[str, HandlerLimits]
    serves_any: bool = False
    """Jobs of whatever handler are run, by a command."""

    threads: int = 1
    """Threads that run after the imports; more than one makes forking unsafe."""


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
    """Please make a child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """A child, with descriptors in the order of `CHILD_DESCRIPTORS`."""

    pid: int


CHILD_DESCRIPTORS = ("near", "far", "results", "output", "mark", "pidfd")
"""Jobs' near end, jobs' far end, results, captured output, start mark, process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkFailed:
    """No child could be made."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reap:
    """Please bury this child: it is dead and nothing needs its process id any more."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """The child is buried; `status` as of `os.waitpid`."""

    pid: int
    status: int | None
    """None where somebody else has reaped it, so that nobody knows."""


class NoControl(ValueError):
    """A message that neither parent nor zygote sends."""


Control = Ready | ImportFailed | CommandUnusable | Fork | Forked | ForkFailed | Reap | Reaped

_CONTROLS: dict[str, type[Control]] = {
    kind.__name__: kind
    for kind in (Ready, ImportFailed, CommandUnusable, Fork, Forked, ForkFailed, Reap, Reaped)
}


_MAX_CONTROL = 200_000
_MAX_APART = 1 << 26
_APART = b"apart"
"""In the place of a message that is too large; its descriptor holds it."""


def send_control(
    end: socket.socket, message: Control, *, passed: Sequence[int] = (), flags: int = 0
) -> None:
    """Send one message between parent and zygote."""
    encoded = to_json([type(message).__name__, asdict(message)]).encode("ascii")
    if len(encoded) <= _MAX_CONTROL:
        descriptors.send(end, encoded, passed=passed, flags=flags)
        return
    # The names of a thousand handlers are more than one message takes (EMSGSIZE).
    memory = os.memfd_create("longshore-control")
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(encoded)
        descriptors.send(end, _APART, passed=[memory], flags=flags)
    finally:
        os.close(memory)


def receive_control(end: socket.socket, *, flags: int = 0) -> tuple[Control, list[int]] | None:
    """The next message and its descriptors; None when the other process is gone.

    Raises NoControl for what is none, whose descriptors are closed.
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
        raise NoControl(f"{encoded[:60]!r} is no message: {error}") from None


def _taken(passed: list[int]) -> bytes:
    """What the one descriptor holds, which is closed. Raises ValueError where it is none such."""
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
