"""The Kubernetes termination message: the container's last words, shown in the pod's status."""

import contextlib
import os
import traceback

from longshore.contract.names import TERMINATION_LOG, TERMINATION_LOG_ENV

MAX_BYTES = 4096
"""What the kubelet keeps of it."""


_held: list[int] = []
"""The termination log's descriptor, once it is held open."""


def hold_open() -> None:
    """Open the termination log ahead: at the end there may be no descriptor left for it."""
    with contextlib.suppress(OSError):
        _held[:] = [_open()]


def tell_bug(error: BaseException) -> None:
    """The message for an end that nobody foresaw: what was raised, and where."""
    said = "".join(traceback.format_exception_only(error)).strip().partition("\n")[0]
    lines = traceback.format_exception(error)
    tell(f"a bug in the worker: {said}\n{''.join(lines)}")


def tell(message: str) -> None:
    """Replace the message; where there is no termination log, do nothing."""
    encoded = message.encode("utf-8", "backslashreplace")
    if len(encoded) > MAX_BYTES:
        # The first line says what is wrong, the end of a traceback where.
        first, _, rest = encoded.partition(b"\n")
        first = first[: MAX_BYTES // 2]
        encoded = first + b"\n...\n" + rest[-(MAX_BYTES - len(first) - 5) :]
    with contextlib.suppress(OSError):
        descriptor = _held[0] if _held else _open()
        try:
            with contextlib.suppress(OSError):  # a terminal or a pipe has no beginning
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, encoded)
        finally:
            if not _held:
                os.close(descriptor)


def _open() -> int:
    # The kubelet makes the file; a worker never creates one.
    return os.open(os.environ.get(TERMINATION_LOG_ENV, TERMINATION_LOG), os.O_WRONLY)
