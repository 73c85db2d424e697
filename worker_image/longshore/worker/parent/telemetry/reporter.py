"""Reports the worker's state to the operator: on each change, and regularly without one."""

import asyncio
from collections.abc import Callable

import msgspec

from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.reports import REPORT_INTERVAL, WorkerReport

MIN_INTERVAL = 0.2
"""Minimum seconds between two reports."""


class Reporter:
    """Publishes what `observe` returns; `send` takes exchange, key and body and must not wait.

    `changed` is set by others when something may have changed, and cleared here. It is created
    before the parts that a report is about, as these are created before the reporter.
    """

    def __init__(
        self,
        observe: Callable[[], WorkerReport],
        *,
        send: Callable[[str, str, bytes], None],
        changed: asyncio.Event,
    ) -> None:
        self._observe = observe
        self._send = send
        self._changed = changed
        self._last: WorkerReport | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self._report()
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

    def close(self) -> None:
        """Report a last time, unless nothing was ever reported."""
        if self._last is not None:
            self._report()

    def _report(self) -> None:
        report = self._last = self._observe()
        self._send(REPORTS_EXCHANGE, report.queue, msgspec.json.encode(report))
