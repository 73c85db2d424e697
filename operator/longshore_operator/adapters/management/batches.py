"""Combines what is requested at about the same time into one request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

MOST = 200
"""Most items in one request: it must end well within the timeout of a call."""

REST = 0.1
"""Seconds of pause after a request, for each item in it except the first. So a single item never
waits, and of many items, more and more share a request."""

LONGEST_REST = 1.0
"""Seconds."""

_T = TypeVar("_T")


class Batches(Generic[_T]):
    """Sends items together: at once if no request is under way, otherwise with all others that
    wait."""

    def __init__(self, send: Callable[[Sequence[_T]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: list[tuple[_T, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def add(self, item: _T) -> None:
        """Return when the item has been sent. If `send` raises, so do the calls for all items of
        the same request."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        await done

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._send_one(batch)
                await asyncio.sleep(min(LONGEST_REST, REST * (len(batch) - 1)))
        except BaseException as error:
            # They would never be sent, and their callers must not wait forever.
            for _, done in self._waiting:
                _fail(done, error)
            self._waiting.clear()
            raise
        finally:
            self._sending = None

    async def _send_one(self, batch: Sequence[tuple[_T, asyncio.Future[None]]]) -> None:
        try:
            await self._send([item for item, _ in batch])
        except BaseException as error:
            for _, done in batch:
                _fail(done, error)
            if not isinstance(error, Exception):
                raise
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def _fail(done: asyncio.Future[None], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
