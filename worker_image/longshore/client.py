"""Enqueueing: `Client.enqueue` puts one job into a TaskQueue's queue and waits for the broker."""

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
"""Headers with the trace of the moment."""


class Client:
    """Enqueues jobs. Nothing connects before the first job does.

    A call returns when RabbitMQ has stored the job safely, or raises an `EnqueueError` about
    `timeout` seconds after it began, 0.3 s later at the latest; it never hangs. Threads may share a
    Client: they take turns, and one whose turn comes too late for a confirm is refused before its
    job is sent. An idle connection that the broker has given up is replaced unseen.

    At least once: after `ConfirmTimeout`, or when the connection broke between a job and its
    confirm, a job may be stored twice, under one id.
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
        """`url` is `amqp://user:password@host:port/vhost`, or `amqps://…` for TLS.

        `authority` is the certificate authority to trust with TLS, in PEM form; the system's are
        when it is absent.

        `trace_headers` is asked at each job for the headers that carry the current trace, such as
        `longshore.integrations.opentelemetry.trace_headers`; without it, jobs carry a trace only
        where `headers` give a `traceparent`. It never keeps a job from being enqueued: names that
        are not free, such as those that begin with `x-`, are left out, and where it raises, the job
        carries no trace and a warning is logged.

        Raises InvalidAddress, which shows no part of the address; InvalidJob for a `timeout` that
        is none.
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
        """A Client for the address in `LONGSHORE_AMQP_URL`, a key of each producer's Secret.

        With TLS, `LONGSHORE_AMQP_CA` is the certificate authority, a key of the same Secret.
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

        `queue` is `NAMESPACE.NAME` of a TaskQueue. `handler` is the function that `@handler`
        decorates, whose signature `arguments` are then checked against, or just its name.
        `delay` and `expires_in` are seconds, a timedelta or a string such as `"10m"`; `delay` is
        rounded up to whole seconds, and a job that has not started `expires_in` after now never
        does. `priority` is 0 to 31, higher first. `headers` travel with the job for life; a
        `traceparent` among them puts the job into that trace.

        A handler with a parameter of one of these four names takes its arguments by `send`.
        Raises InvalidJob before anything is sent, else another EnqueueError. That a queue does not
        exist can be told only for a job without delay.
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
        """`enqueue` with the arguments in a mapping, so that any name can be among them."""
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
            # A job without a trace is worth more than no job.
            log.warning("no trace for a job: trace_headers failed: %s", submission.shown(error))
            return headers

    def close(self) -> None:
        """Close the connection. The next job would open another.

        Jobs of other threads are waited for, for 2.3 seconds at most; the connection is closed
        behind the last of them if that takes longer.
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
