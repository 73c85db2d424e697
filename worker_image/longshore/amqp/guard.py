"""The event loop as one connection sees it: an exception in a callback ends that connection alone.

pika lets exceptions escape from its callbacks, including failed assertions of its own (one fails
when a connection is closed while it opens). asyncio knows nothing of connections, so to it, and to
`crash`, that is a bug of the whole worker. All of pika's calls to the loop pass through here.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from longshore.amqp.private import close_socket_of

Callback = Callable[[], object]


class Guard:
    """The part of an event loop that pika's asyncio connection uses.

    `on_fault` is called with the first exception of a callback. After `shut`, no callback is called
    any more and no socket stays open, whatever state pika is in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.on_fault: Callable[[Exception], None] = lambda _: None
        self.is_shut = False
        self._loop = loop
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}

    def shut(self) -> None:
        """Stop all callbacks, and close the sockets that were watched."""
        if self.is_shut:
            return
        self.is_shut = True
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        for descriptor in self._writers:
            self._loop.remove_writer(descriptor)
        for callback in (*self._readers.values(), *self._writers.values()):
            close_socket_of(callback)
        self._readers.clear()
        self._writers.clear()

    # What pika calls

    def call_later(self, delay: float, callback: Callback) -> asyncio.TimerHandle:
        """As in the loop."""
        return self._loop.call_later(delay, self._run, callback)

    def call_soon_threadsafe(self, callback: Callback) -> asyncio.Handle:
        """As in the loop."""
        return self._loop.call_soon_threadsafe(self._run, callback)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> "_Task":
        """As in the loop; pika resolves addresses with it."""
        return _Task(self._loop.create_task(coroutine), self._run)

    def getaddrinfo(self, *arguments: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """As in the loop."""
        return self._loop.getaddrinfo(*arguments, **options)

    def add_reader(self, descriptor: int, callback: Callback) -> None:
        """As in the loop."""
        if not self.is_shut:
            self._readers[descriptor] = callback
            self._loop.add_reader(descriptor, self._run, callback)

    def remove_reader(self, descriptor: int) -> bool:
        """As in the loop, but a descriptor that was shut may by now belong to another object."""
        known = self._readers.pop(descriptor, None)
        return known is not None and self._loop.remove_reader(descriptor)

    def add_writer(self, descriptor: int, callback: Callback) -> None:
        """As in the loop."""
        if not self.is_shut:
            self._writers[descriptor] = callback
            self._loop.add_writer(descriptor, self._run, callback)

    def remove_writer(self, descriptor: int) -> bool:
        """As in the loop."""
        known = self._writers.pop(descriptor, None)
        return known is not None and self._loop.remove_writer(descriptor)

    def _run(self, callback: Callback) -> None:
        if self.is_shut:
            close_socket_of(callback)  # a socket that was created and not watched yet
            return
        try:
            callback()
        except Exception as error:
            self.on_fault(error)


class _Task:
    """A task whose callbacks are guarded as well."""

    def __init__(self, task: asyncio.Task[Any], run: Callable[[Callback], None]) -> None:
        self._task = task
        self._run = run

    def add_done_callback(self, callback: Callable[[asyncio.Task[Any]], object]) -> None:
        self._task.add_done_callback(lambda task: self._run(functools.partial(callback, task)))

    def cancel(self) -> bool:
        return self._task.cancel()
