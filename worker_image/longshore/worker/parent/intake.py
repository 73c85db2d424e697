"""What children say: records and output, a bounded amount of each in a turn of the event loop.

A job's end counts once all that it wrote is in the log. That may take several turns, so its record
waits for it, and with it whatever the child says after it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from longshore.worker.frames import Ended, Progress
from longshore.worker.parent.output import Turn
from longshore.worker.parent.slot import Slot

FLOOD_PAUSE = 0.002
"""Seconds between two turns at output of which nothing is logged any more: some 100 MB/s for each
child, at a tenth of a CPU."""

PROGRESS_INTERVAL = 0.25
"""Seconds between two lines of progress of one child. It keeps to twice as much by itself, but the
processes that it forks do not know of each other."""

HANG_UP_GRACE = 1.0
"""Seconds that a child lives on after it has closed its end of the results."""


@dataclass(slots=True, kw_only=True)
class _Reading:
    """How far one child has been read."""

    is_paused: bool = False
    """Its output is not watched: a turn is due at a time of its own."""

    has_turn: bool = False
    """A turn at its records is due."""

    progress_at: float = 0.0


class Intake:
    """Reads what children say and passes it on.

    `on_ended(slot, record, tail, at)` comes when the first job of `slot` has ended `at` that time,
    with the end of its output; `on_read(slot)` after anything was passed on; `on_fault(slot)` when
    what the child says makes no sense, as `slot.fault` has it.
    """

    def __init__(
        self,
        *,
        on_ended: Callable[[Slot, Ended, str, float], None],
        on_progress: Callable[[Slot, Progress], None],
        on_fault: Callable[[Slot], None],
        on_read: Callable[[Slot], None],
    ) -> None:
        self._on_ended = on_ended
        self._on_progress = on_progress
        self._on_fault = on_fault
        self._on_read = on_read
        self._loop = asyncio.get_running_loop()
        self._readings: dict[Slot, _Reading] = {}

    def watch(self, slot: Slot) -> None:
        """Read a new child."""
        self._readings[slot] = _Reading()
        self._loop.add_reader(slot.results, self.read_records, slot)
        self._loop.add_reader(slot.output_descriptor, self._read_output, slot)

    def read_records(self, slot: Slot) -> None:
        """Read what the child has reported, and pass on what can be."""
        if slot.fault or slot.has_hung_up:
            return
        if slot.read_records(now=self._loop.time()):
            self._pass_on(slot)
        if slot.has_hung_up:  # its end stays readable for good
            self._loop.remove_reader(slot.results)
            if not slot.is_dead:
                self._loop.call_later(HANG_UP_GRACE, self._outlives_its_end, slot)
        self._check(slot)

    async def finish_records(self, slot: Slot) -> None:
        """Read all that a dead child has reported."""
        while slot.read_records(now=self._loop.time()) or slot.unsettled:
            self._pass_on(slot)
            await asyncio.sleep(0)
        self._loop.remove_reader(slot.results)

    async def finish_output(self, slot: Slot) -> str:
        """Read what a dead child has left in its pipe; the end of what its last job wrote."""
        # What has escaped us may write for ever.
        for _ in range(_LAST_TURNS):
            if slot.output.read(slot.busy) in (Turn.DRY, Turn.END):
                break
            await asyncio.sleep(0)
        self._readings.pop(slot, None)
        self._loop.remove_reader(slot.output_descriptor)
        return slot.output.finish(slot.busy)

    def _pass_on(self, slot: Slot) -> None:
        """Pass on records until one must wait for its job's output."""
        reading = self._readings.get(slot) or self._readings.setdefault(slot, _Reading())
        unsettled = slot.unsettled
        while unsettled:
            record, at = unsettled[0]
            if not slot.accepts(record):
                unsettled.popleft()
                if slot.fault:
                    unsettled.clear()
                    break
                continue
            if isinstance(record, Progress):
                unsettled.popleft()
                if at - reading.progress_at >= PROGRESS_INTERVAL:
                    reading.progress_at = at
                    self._on_progress(slot, record)
                continue
            tail = slot.output.settle(slot.busy)
            if tail is None:
                self._again(slot, reading)
                break
            unsettled.popleft()
            self._on_ended(slot, record, tail, at)
        self._on_read(slot)

    def _again(self, slot: Slot, reading: _Reading) -> None:
        if not reading.has_turn and not slot.is_dead:
            reading.has_turn = True
            self._loop.call_soon(self._turn, slot, reading)

    def _turn(self, slot: Slot, reading: _Reading) -> None:
        reading.has_turn = False
        if not slot.is_dead:
            self._pass_on(slot)
            self._check(slot)

    def _check(self, slot: Slot) -> None:
        if slot.fault:
            self._loop.remove_reader(slot.results)
            self._on_fault(slot)

    def _outlives_its_end(self, slot: Slot) -> None:
        if not slot.is_dead and not slot.killed_for:
            slot.fault = "its end of the results is closed, and it lives on"
            self._on_fault(slot)

    def _read_output(self, slot: Slot) -> None:
        reading = self._readings.get(slot)
        if reading is None:
            return
        turn = slot.output.read(slot.busy)
        if turn in (Turn.DRY, Turn.END):
            if reading.is_paused and turn is Turn.DRY:
                self._loop.add_reader(slot.output_descriptor, self._read_output, slot)
            elif turn is Turn.END:
                self._loop.remove_reader(slot.output_descriptor)
            reading.is_paused = False
            return
        if not reading.is_paused:
            reading.is_paused = True
            self._loop.remove_reader(slot.output_descriptor)
        if turn is Turn.MORE:
            self._loop.call_soon(self._read_output, slot)
        else:
            self._loop.call_later(FLOOD_PAUSE, self._read_output, slot)


_LAST_TURNS = 1000
"""Far more than what a pipe holds can take."""
