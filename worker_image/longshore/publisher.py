"""Publishing with a deadline: connects when needed, reconnects once, safe to use from threads."""

from __future__ import annotations

import os
import threading
import time

import pika

from longshore.address import parameters
from longshore.errors import BrokerUnavailable, InvalidAddress
from longshore.link import Link, LinkLost, Publication


class Publisher:
    """Publishes one message at a time, each confirmed by the broker, over one connection.

    One lock guards the connection. A process that forked makes its own: two on one socket would
    corrupt both streams.
    """

    def __init__(self, url: str, *, authority: str | None = None) -> None:
        self._parameters = _parameters(url, authority)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._process = os.getpid()

    def publish(self, publication: Publication, *, timeout: float) -> None:
        """Raises EnqueueError, `timeout` seconds after the call at the latest.

        A connection that proves dead is replaced once, and the same message sent again: if only
        the confirm was lost it is now stored twice, with one id.
        """
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise BrokerUnavailable(f"{publication}: other threads kept the connection busy")
        try:
            link = self._usable_link()
            if link is not None:
                try:
                    return link.publish(publication, deadline=deadline)
                except LinkLost:
                    # An idle connection dies unseen; a fresh one tells whether the broker lives.
                    pass
            self._link = Link(self._parameters)
            self._link.open(deadline=deadline)
            return self._link.publish(publication, deadline=deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._link is not None and self._process == os.getpid():
                self._link.close()
            self._link = None

    def _usable_link(self) -> Link | None:
        if self._process != os.getpid():
            # The parent's; to close it here would speak on the parent's connection.
            self._link, self._process = None, os.getpid()
        if self._link is not None and not self._link.is_usable():
            self._link.abort()
            self._link = None
        return self._link


def _parameters(url: str, authority: str | None) -> pika.URLParameters:
    if not url.startswith(("amqp://", "amqps://")):
        # Not repeated whole: it may hold a password.
        raise InvalidAddress(
            f"{url.partition('://')[0]!r} does not begin an address of RabbitMQ; "
            "it looks like amqp://user:password@host:5672/vhost"
        )
    try:
        return parameters(url, authority=authority)
    except ValueError as error:
        raise InvalidAddress(f"the address of RabbitMQ: {error}") from None
