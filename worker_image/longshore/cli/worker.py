"""`longshore worker`: run a worker in the foreground."""

from __future__ import annotations

import sys

import click


@click.command
def worker() -> None:
    """Run a worker in the foreground, as in its pod.

    It reads LONGSHORE_WORKER_CONFIG (JSON) and LONGSHORE_AMQP_URL from the environment.
    """
    from longshore.worker.__main__ import main

    sys.exit(main())
