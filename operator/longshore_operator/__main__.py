"""`python -m longshore_operator`."""

import asyncio
import os
import sys

from longshore_operator import logs
from longshore_operator.errors import Invalid
from longshore_operator.run import run
from longshore_operator.settings import Settings


def main() -> int:
    """Run the operator. Exit code 2 is for settings that cannot be."""
    try:
        settings = Settings.read(os.environ)
    except Invalid as error:
        print(f"longshore-operator: {error}", file=sys.stderr)
        return 2
    logs.configure(level=settings.log_level, form=settings.log_format)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
