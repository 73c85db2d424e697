"""Middleware `sentry`: an event for each failed attempt. Needs `longshore[sentry]`.

It is configured like the SDK, by `SENTRY_DSN`, `SENTRY_ENVIRONMENT` and `SENTRY_RELEASE`. If a
module of handlers calls `sentry_sdk.init` itself, that call takes precedence.

The SDK is set up before the fork, since its many integrations take most of a second to import. It
sends from a thread, which a fork does not copy. In a new process it starts another one, but not
before there is an event.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sentry_sdk

from longshore.handler import Job

FLUSH_TIMEOUT = 2.0
"""Seconds that a failed attempt waits for its event to be sent, since its process may be killed
next."""

CLOSE_TIMEOUT = 0.7
"""Seconds that an ending child waits for unsent events; all middleware together has 0.8."""


def _set_up() -> None:
    if not sentry_sdk.is_initialized():
        sentry_sdk.init()


class Reporting:
    """The middleware."""

    @contextmanager
    def __call__(self, job: Job) -> Iterator[None]:
        """Report an exception that the job does not expect."""
        with sentry_sdk.isolation_scope() as scope:
            scope.set_transaction_name(job.handler)
            scope.set_tag("longshore.job", job.id)
            scope.set_tag("longshore.handler", job.handler)
            scope.set_tag("longshore.queue", job.queue)
            scope.set_tag("longshore.attempt", str(job.attempt))
            try:
                yield
            except BaseException as error:  # a soft limit is not an Exception
                if not job.expects(error):
                    sentry_sdk.capture_exception(error)
                    sentry_sdk.flush(FLUSH_TIMEOUT)
                raise

    def close(self) -> None:
        """Send events that handlers have captured; after the last job, nothing else does."""
        sentry_sdk.flush(CLOSE_TIMEOUT)


_set_up()
middleware = Reporting()
