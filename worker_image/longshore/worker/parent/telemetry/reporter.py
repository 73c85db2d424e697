"""Tells the operator the worker's state: on each change, and regularly without one."""

import asyncio
from collections.abc import Callable

import msgspec

from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.reports import REPORT_INTERVAL, WorkerReport

MIN_INTERVAL = 0.2
"""Seconds between two reports."""


class Reporter:
    """Publishes what `observe` gives; `send` takes exchange, key and body and must not wait."""

    def __init__(
        self,
        observe: Callable[[], WorkerReport],
        *,
        send: Callable[[str, str, bytes], None],
    ) -> None:
        self._observe = observe
        self._send = send
        self._changed = asyncio.Event()
        self._last: WorkerReport | None = None

    def note_change(self) -> None:
        """Something may have changed."""
        self._changed.set()

    def report(self) -> None:
        """Tell the state now."""
        report = self._last = self._observe()
        self._send(REPORTS_EXCHANGE, report.queue, msgspec.json.encode(report))

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self.report()
            await asyncio.sleep(MIN_INTERVAL)
            loop = asyncio.get_running_loop()
            deadline = loop.time() + REPORT_INTERVAL - MIN_INTERVAL
            while loop.time() < deadline and self._observe() == self._last:
                self._changed.clear()
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._changed.wait()
                except TimeoutError:
                    break
