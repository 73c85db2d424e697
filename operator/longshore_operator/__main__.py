"""`python -m longshore_operator`."""

import asyncio
import gc
import os
import sys

from longshore_operator import logs
from longshore_operator.errors import Invalid
from longshore_operator.run import run
from longshore_operator.settings import Settings

GC_THRESHOLDS = 50_000, 20, 10
"""With Python's default, (2000, 10, 10) or less, the collector scans all objects every few seconds,
which stops the operator for 125 ms with 400 TaskQueues. With these values, short-lived objects
(reports, statuses, events) are freed before they count as old."""


def main() -> int:
    """Run the operator and return its exit code, which is 2 for invalid settings."""
    try:
        settings = Settings.read(os.environ)
    except Invalid as error:
        print(f"longshore-operator: {error}", file=sys.stderr)
        return 2
    logs.configure(level=settings.log_level, form=settings.log_format)
    gc.freeze()  # imported modules are never freed
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
