"""The Kubernetes termination message, which the pod's status shows after the container's end."""

import contextlib
import os
import traceback

from longshore.contract.names import TERMINATION_LOG, TERMINATION_LOG_ENV

MAX_BYTES = 4096
"""How much of it the kubelet keeps."""


_held: list[int] = []
"""The descriptor of the termination log, once it is held open."""


def hold_open() -> None:
    """Open the termination log early, because no descriptor may be left for it at the end."""
    with contextlib.suppress(OSError):
        _held[:] = [_open()]


def tell_bug(error: BaseException) -> None:
    """Write the message for an unforeseen end: the exception, and where it was raised."""
    said = "".join(traceback.format_exception_only(error)).strip().partition("\n")[0]
    lines = traceback.format_exception(error)
    tell(f"a bug in the worker: {said}\n{''.join(lines)}")


def tell(message: str) -> None:
    """Replace the message; do nothing if there is no termination log."""
    encoded = message.encode("utf-8", "backslashreplace")
    if len(encoded) > MAX_BYTES:
        # The first line says what is wrong; the end of a traceback says where.
        first, _, rest = encoded.partition(b"\n")
        first = first[: MAX_BYTES // 2]
        encoded = first + b"\n...\n" + rest[-(MAX_BYTES - len(first) - 5) :]
    with contextlib.suppress(OSError):
        descriptor = _held[0] if _held else _open()
        try:
            with contextlib.suppress(OSError):  # a terminal or a pipe cannot be rewound
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, encoded)
        finally:
            if not _held:
                os.close(descriptor)


def _open() -> int:
    # The kubelet creates the file; a worker never does.
    return os.open(os.environ.get(TERMINATION_LOG_ENV, TERMINATION_LOG), os.O_WRONLY)
