"""The time that has passed, for Longshore itself.

Jobs may replace `time.monotonic` in all modules, as freezegun does, and leave it so.
"""

import time


class _Kept:
    """Nobody looks for a function to replace in a class of ours."""

    monotonic = staticmethod(time.monotonic)


def monotonic() -> float:
    """Seconds, as of the real `time.monotonic`."""
    return _Kept.monotonic()
