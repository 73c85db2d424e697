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
"""Python's default, (2000, 10, 10) or less, looks at the whole fleet every few seconds: 125 ms of
standstill with 400 TaskQueues. With these, what comes and goes (reports, statuses, events) is gone
before it counts as old."""


def main() -> int:
    """Run the operator. Exit code 2 is for settings that cannot be."""
    try:
        settings = Settings.read(os.environ)
    except Invalid as error:
        print(f"longshore-operator: {error}", file=sys.stderr)
        return 2
    logs.configure(level=settings.log_level, form=settings.log_format)
    gc.freeze()  # what was imported stays
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
