"""The reasons for the worker's end: a signal, an order, or the loss of its zygote."""

import asyncio

from longshore.logs import Log
from longshore.worker.linux import termination
from longshore.worker.linux.exits import Exit

log = Log("longshore.worker")


class Shutdown:
    """Records whether the worker must drain, and whether to stop waiting for its jobs.

    It is created before the parts that may cause the end. Only the first reason counts.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[int] = loop.create_future()
        """Done when the worker must drain; the result is the exit code."""

        self.killed: asyncio.Future[int] = loop.create_future()
        """Done when the worker must end without waiting for jobs; the result is the exit code."""

        self._was_signalled = False

    def on_signal(self) -> None:
        """Drain on the first signal, kill on the second."""
        # Only a signal after a signal kills, because the first one may follow an order to drain, or
        # the end of the zygote.
        is_second, self._was_signalled = self._was_signalled, True
        if not self.begun.done():
            self.begun.set_result(Exit.DRAINED)
        elif is_second and not self.killed.done():
            self.killed.set_result(Exit.KILLED)

    def on_drain_order(self) -> None:
        """Drain, as the operator orders."""
        if not self.begun.done():
            log.info("drain-ordered")
            self.begun.set_result(Exit.DRAINED)

    def on_zygote_gone(self, fault: str) -> None:
        """Drain, because no more processes can be created for jobs. `fault` is as `has …`."""
        message = f"no more processes can be created for jobs: the zygote {fault}"
        log.error("zygote-gone", error=message)
        termination.tell(message)
        if not self.begun.done():
            self.begun.set_result(Exit.ZYGOTE_GONE)
