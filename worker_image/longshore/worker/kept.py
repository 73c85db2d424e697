"""Functions as they are before the handlers' modules are imported.

Those modules, and jobs, may replace such functions for the whole process, for example by another
library's JSON or by a clock that stands still.
"""

import json
import time

to_json = json.JSONEncoder().encode
to_strict_json = json.JSONEncoder(allow_nan=False).encode  # no NaN, no infinity
from_json = json.JSONDecoder().decode


class _Clock:
    """freezegun replaces `time.monotonic` in all modules, but not in classes."""

    monotonic = staticmethod(time.monotonic)


def monotonic() -> float:
    """Return the seconds of the real `time.monotonic`."""
    return _Clock.monotonic()
