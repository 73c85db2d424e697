"""The Kubernetes termination message: the container's last words, shown in the pod's status."""

import contextlib
import os
import traceback

PATH_ENV = "LONGSHORE_TERMINATION_LOG"
"""Overrides the path, for tests and other runtimes."""

DEFAULT_PATH = "/dev/termination-log"

MAX_BYTES = 4096
"""What the kubelet keeps of it."""


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
        # The kubelet makes the file; a worker never creates one.
        descriptor = os.open(os.environ.get(PATH_ENV, DEFAULT_PATH), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, encoded)
        finally:
            os.close(descriptor)
