"""`Client.enqueue` puts one job into a TaskQueue's queue and waits until RabbitMQ confirms it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from longshore.amqp import address
from longshore.contract.durations import Span
from longshore.contract.message import TRACEPARENT
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV
from longshore.errors import EnqueueError, InvalidAddress, InvalidJob
from longshore.producing import submission
from longshore.producing.publisher import BlockingPublisher
from longshore.producing.submission import Handler

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0

TraceHeaders = Callable[[], Mapping[str, str]]
"""A function that returns headers with the current trace."""


class Client:
    """Enqueues jobs. The first job opens the connection.

    A call returns when RabbitMQ has stored the job safely. Otherwise it raises an `EnqueueError`
    about `timeout` seconds after it began, at most 0.3 s later; it never hangs. Threads may share a
    Client: they take turns, and if a thread's turn comes too late for a confirm, its call raises
    before the job is sent. An idle connection that RabbitMQ has closed is replaced automatically.

    Delivery is at least once: after `ConfirmTimeout`, or when the connection was lost between a job
    and its confirm, a job may be stored twice, with the same id.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: Span = DEFAULT_TIMEOUT,
        authority: str | None = None,
        trace_headers: TraceHeaders | None = None,
        now: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare a Client for `url`: `amqp://user:password@host:port/vhost`, or `amqps://…` for
        TLS.

        `authority` is the certificate authority to trust with TLS, in PEM format. By default, those
        that the system trusts are used.

        `trace_headers` is called for each job and returns the headers that carry the current trace;
        an example is `longshore.integrations.opentelemetry.trace_headers`. Without it, a job
        carries a trace only if its `headers` have a `traceparent`. It never prevents a job from
        being enqueued: reserved names, such as those that begin with `x-`, are left out, and if it
        raises, the job carries no trace and a warning is logged.

        Raises InvalidAddress, whose message shows no part of the address, and InvalidJob if
        `timeout` is invalid.
        """
        problem: EnqueueError | None = None
        try:
            self._timeout = submission.seconds("timeout", timeout)
            self._publisher = BlockingPublisher(address.parameters(url, authority=authority))
        except InvalidJob as error:
            problem = InvalidJob(str(error))
        except ValueError as error:
            problem = InvalidAddress(f"the address of RabbitMQ: {error}")
        # Error reporters read the variables of each frame that an error has passed.
        del url, authority
        if problem:
            raise problem
        self._trace_headers = trace_headers
        self._now = now
        self._entropy = entropy

    @classmethod
    def from_env(
        cls,
        environment: Mapping[str, str] = os.environ,
        *,
        timeout: Span = DEFAULT_TIMEOUT,
        trace_headers: TraceHeaders | None = None,
    ) -> Self:
        """Return a Client for the address in `LONGSHORE_AMQP_URL`, a key of each producer's Secret.

        With TLS, `LONGSHORE_AMQP_CA` holds the certificate authority; it is a key of the same
        Secret. Raises InvalidAddress and InvalidJob as the constructor does.
        """
        if not environment.get(AMQP_URL_ENV):
            raise InvalidAddress(
                f"{AMQP_URL_ENV} is not set; take it from the Secret NAME-producer of a TaskQueue"
            )
        try:
            return cls(
                environment[AMQP_URL_ENV],
                timeout=timeout,
                authority=environment.get(AMQP_CA_ENV),
                trace_headers=trace_headers,
            )
        except InvalidJob as error:
            problem: EnqueueError = InvalidJob(str(error))
        except InvalidAddress as error:
            problem = InvalidAddress(f"{AMQP_URL_ENV}: {error}")
        del environment  # for error reporters, as above
        raise problem

    def enqueue(
        self,
        queue: str,
        handler: Handler,
        /,
        *,
        delay: Span = 0,
        priority: int = 0,
        expires_in: Span | None = None,
        headers: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> str:
        """Enqueue one job and return its id.

        `queue` is `NAMESPACE.NAME` of a TaskQueue. `handler` is a function decorated with
        `@handler`, or the name of a handler; with a function, `arguments` are checked against its
        signature. `delay` and `expires_in` are seconds, a timedelta or a string such as `"10m"`.
        `delay` is rounded up to whole seconds. A job that has not started within `expires_in` from
        now is not run any more. `priority` is 0 to 31, higher first. `headers` stay with the job
        until its end; a `traceparent` among them makes the job part of that trace.

        If a parameter of the handler has the name of one of these four options, use `send`.

        Raises InvalidJob before anything is sent, otherwise another EnqueueError. QueueNotFound is
        raised only for a job without a delay.
        """
        submission.refuse_ambiguous(handler)
        return self.send(
            queue,
            handler,
            arguments,
            delay=delay,
            priority=priority,
            expires_in=expires_in,
            headers=headers,
        )

    def send(
        self,
        queue: str,
        handler: Handler,
        arguments: Mapping[str, Any],
        /,
        *,
        delay: Span = 0,
        priority: int = 0,
        expires_in: Span | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Do the same as `enqueue`, with the arguments in a mapping, which may have any names."""
        prepared = submission.prepare(
            queue,
            handler,
            arguments,
            delay=delay,
            priority=priority,
            expires_in=expires_in,
            headers=self._traced({} if headers is None else headers),
            now=int(self._now() * 1000),
            entropy=self._entropy(10),
        )
        self._publisher.publish(prepared, timeout=self._timeout)
        return str(prepared.properties["message_id"])

    def _traced(self, headers: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._trace_headers is None or not isinstance(headers, Mapping):
            return headers
        try:
            if TRACEPARENT in headers:
                return headers
            return {**submission.sendable(self._trace_headers()), **headers}
        except Exception as error:
            # A job without a trace is better than no job.
            log.warning("no trace for a job: trace_headers failed: %s", submission.shown(error))
            return headers

    def close(self) -> None:
        """Close the connection. Another job would open a new one.

        This waits at most 2.3 seconds for the jobs of other threads. If they take longer, the
        connection is closed after the last of them.
        """
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
