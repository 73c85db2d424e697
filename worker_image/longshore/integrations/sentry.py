"""Middleware `sentry`: an event for each failed attempt. Needs `longshore[sentry]`.

Configured as the SDK is, by `SENTRY_DSN`, `SENTRY_ENVIRONMENT` and `SENTRY_RELEASE`; a module of
handlers that calls `sentry_sdk.init` itself has its way.

The SDK is set up before the fork, since its many integrations take most of a second to import. It
sends from a thread, which a fork does not copy; it starts another where it finds itself in a new
process, and none is started before there is an event.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sentry_sdk

from longshore.handler import Job

FLUSH_TIMEOUT = 2.0
"""Seconds that a failed attempt waits for its event to be sent: its process may be killed next."""

CLOSE_TIMEOUT = 0.7
"""Seconds that a child's end waits for what is still to be sent; all middleware has 0.8."""


def _set_up() -> None:
    if not sentry_sdk.is_initialized():
        sentry_sdk.init()


class Reporting:
    """The middleware."""

    @contextmanager
    def __call__(self, job: Job) -> Iterator[None]:
        """Report what the job did not announce."""
        with sentry_sdk.isolation_scope() as scope:
            scope.set_transaction_name(job.handler)
            scope.set_tag("longshore.job", job.id)
            scope.set_tag("longshore.handler", job.handler)
            scope.set_tag("longshore.queue", job.queue)
            scope.set_tag("longshore.attempt", str(job.attempt))
            try:
                yield
            except BaseException as error:  # a soft limit is none of Exception
                if not job.expects(error):
                    sentry_sdk.capture_exception(error)
                    sentry_sdk.flush(FLUSH_TIMEOUT)
                raise

    def close(self) -> None:
        """Send what handlers have captured themselves; after the last job nothing else would."""
        sentry_sdk.flush(CLOSE_TIMEOUT)


_set_up()
middleware = Reporting()
