"""Handlers' progress and results as JSON values, and the limits on their size."""

import json
from typing import Any

from longshore.worker.kept import to_strict_json

MAX_DEPTH = 64
"""Levels of lists and objects in a value. Each takes a frame of the parent's stack."""

MAX_PROGRESS = 4096
"""Bytes of one progress record."""

MAX_RESULT = 8192
"""Bytes of a result's JSON. It takes one line of the log, which is as long as the longest line that
a job may write; container runtimes split lines of more than 16 KiB."""

_TOO_LARGE = f"a result may have at most {MAX_RESULT} bytes as JSON"
_TOO_DEEP = f"a result may have at most {MAX_DEPTH} levels of nesting"


def encode_result(value: object) -> str:
    """Return `value` as JSON. Raises TypeError or ValueError if that is impossible.

    A value that is too large is detected before it is encoded, because encoding could take as much
    memory again, and longer than the job.
    """
    _check_size(value)
    encoded = to_strict_json(value)
    if len(encoded) > MAX_RESULT:
        raise ValueError(_TOO_LARGE)
    return encoded


def _check_size(value: object) -> None:
    """Raise ValueError if `value` certainly has too many bytes, or too many levels."""
    level, left = [value], MAX_RESULT
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for each in level:
            if isinstance(each, str | dict | list | tuple):
                left -= len(each)
                if left < 0:
                    raise ValueError(_TOO_LARGE)
                if isinstance(each, dict):
                    below += each
                    below += each.values()
                elif not isinstance(each, str):
                    below += each
        level = below
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def check_result(encoded: str) -> None:
    """Raise ValueError unless `encoded` is a possible return value of `encode_result`."""
    # Printable, so that it stays in its line of the log.
    if len(encoded) > MAX_RESULT or not (encoded.isascii() and encoded.isprintable()):
        raise ValueError(f"the result has more than {MAX_RESULT} bytes, or unprintable ones")
    try:
        value = json.loads(encoded, parse_constant=refuse)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if is_deep(value):
        raise ValueError(_TOO_DEEP)


def refuse(constant: str) -> Any:
    """Raise ValueError for a number that JSON lacks but Python's parser accepts."""
    raise ValueError(f"{constant} is not JSON")


def is_deep(value: object, *, left: int = MAX_DEPTH) -> bool:
    """Return whether a value has more than `left` levels of lists and dicts."""
    level = [value]
    while level and left >= 0:
        level = [
            below
            for each in level
            if isinstance(each, dict | list | tuple)
            for below in (each.values() if isinstance(each, dict) else each)
        ]
        left -= 1
    return bool(level)
