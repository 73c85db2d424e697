"""What children say: records and output, a bounded amount of each in a turn of the event loop.

A job's end counts once all that it wrote is in the log. That may take several turns, so a record
waits for it, and with it whatever the child says after it. A child that takes more of the loop than
its share waits for its next turn, and its jobs then for room in their pipe.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from longshore.worker.parent.children.child import Slot
from longshore.worker.parent.children.output import Turn
from longshore.worker.wire.frames import Ended, Progress

SHARE = 0.25
"""Part of the event loop's time that all children together may take for what they write and for
progress, divided among those that write without end."""

BURST = 0.02
"""Seconds of the loop that a child may take at once, after a time of silence."""

LONGEST_TURN = 0.005
"""Seconds that one turn counts for at most: where it took longer, others had the CPU."""

PROGRESS_INTERVAL = 0.25
"""Seconds between two lines of progress of one child. It keeps to twice as much by itself, but the
processes that it forks do not know of each other."""

HANG_UP_GRACE = 1.0
"""Seconds that a child lives on after it has closed its end of the results."""


@dataclass(slots=True, kw_only=True)
class _Reading:
    """How far one child has been read."""

    credit: float = BURST
    """Seconds of the loop that it may take now."""

    charged_at: float = 0.0
    is_output_paused: bool = False
    """Its output is not watched: a turn is due at a time of its own."""

    are_records_paused: bool = False
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
        self._greedy = 0
        """Children whose output or records are paused."""

    def watch(self, slot: Slot) -> None:
        """Read a new child."""
        self._readings[slot] = _Reading()
        self._loop.add_reader(slot.results, self.read_records, slot)
        self._loop.add_reader(slot.output_descriptor, self._read_output, slot)

    def read_records(self, slot: Slot) -> None:
        """Read what the child has reported, and pass on what can be."""
        if slot.fault or slot.has_hung_up:
            return
        began = self._loop.time()
        if slot.read_records(now=began):
            if isinstance(slot.unsettled[-1][0], Progress):
                self._charge_progress(slot, began)
            self._pass_on(slot)
        if slot.has_hung_up:  # its end stays readable for good
            self._loop.remove_reader(slot.results)
            if not slot.is_dead:
                self._loop.call_later(HANG_UP_GRACE, self._outlives_its_end, slot)
        self._check(slot)

    def has_ended(self, slot: Slot) -> bool:
        """Whether the first job of `slot` has ended, though that may not be passed on yet."""
        slot.output.absorb()
        reading = self._readings.get(slot)
        if reading and not reading.is_output_paused:  # the pipe is empty now and does not wake us
            self._loop.call_soon(self._read_output, slot)
        return slot.output.has_success_ahead

    async def finish_records(self, slot: Slot) -> None:
        """Pass on all ends of jobs that a dead child has told."""
        slot.output.absorb()
        while slot.read_records(now=self._loop.time()) or slot.unsettled:
            self._pass_on(slot)
            await asyncio.sleep(0)
        while slot.output.has_success_ahead:
            slot.output.seek(slot.busy)
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
        self._pass_on(slot)
        if reading := self._readings.pop(slot, None):
            self._greedy -= reading.is_output_paused + reading.are_records_paused
        self._loop.remove_reader(slot.output_descriptor)
        return slot.output.finish(slot.busy)

    def _pass_on(self, slot: Slot) -> None:
        """Pass on ends and records until one must wait for its job's output."""
        now = self._loop.time()
        while True:
            if end := slot.output.take_success():
                tail, success = end
                if slot.accepts(success):
                    self._on_ended(slot, success, tail, now)
            elif not slot.unsettled or not self._pass_on_record(slot):
                break
        reading = self._readings.get(slot)
        if slot.output.has_lines and reading and not reading.is_output_paused:
            # The pipe may be empty by now, and then it does not wake us.
            self._loop.call_soon(self._read_output, slot)
        self._on_read(slot)

    def _pass_on_record(self, slot: Slot) -> bool:
        """Pass on the first record; False where it must wait."""
        record, at = slot.unsettled[0]
        is_end = isinstance(record, Ended)
        reading = self._readings.get(slot) or self._readings.setdefault(slot, _Reading())
        if is_end or slot.holds_behind(record.ticket):
            began = self._loop.time()
            found = slot.output.seek(slot.busy)
            if found is None:
                self._again(slot, reading, self._charge(reading, began))
                return False
            if found and slot.output.has_success:  # of a job before the record's
                return True
        slot.unsettled.popleft()
        if not slot.accepts(record):
            if is_end and slot.culprit and slot.culprit.ticket == record.ticket:
                slot.output.take_told()  # nobody else's
            return True
        if isinstance(record, Ended):
            self._on_ended(slot, record, slot.output.take_told(), at)
        elif at - reading.progress_at >= PROGRESS_INTERVAL:
            reading.progress_at = at
            self._on_progress(slot, record)
        return True

    def _charge(self, reading: _Reading, began: float) -> float:
        """A turn at a child that `began` then is over: how long the next has to wait."""
        share = SHARE / max(1, self._greedy)
        now = self._loop.time()
        earned = min(BURST, reading.credit + (began - reading.charged_at) * share)
        reading.credit = earned - min(now - began, LONGEST_TURN)
        reading.charged_at = now
        return max(0.0, -reading.credit / share)

    def _charge_progress(self, slot: Slot, began: float) -> None:
        reading = self._readings.get(slot)
        if reading and not reading.are_records_paused and (pause := self._charge(reading, began)):
            reading.are_records_paused = True
            self._greedy += 1
            self._loop.remove_reader(slot.results)
            self._loop.call_later(pause, self._resume_records, slot)

    def _resume_records(self, slot: Slot) -> None:
        reading = self._readings.get(slot)
        if reading and reading.are_records_paused:
            reading.are_records_paused = False
            self._greedy -= 1
            if not (slot.is_dead or slot.fault or slot.has_hung_up):
                self._loop.add_reader(slot.results, self.read_records, slot)

    def _again(self, slot: Slot, reading: _Reading, pause: float) -> None:
        if not reading.has_turn and not slot.is_dead:
            reading.has_turn = True
            self._loop.call_later(pause, self._turn, slot, reading)

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
            slot.find_fault("its end of the results is closed, and it lives on")
            self._on_fault(slot)

    def _read_output(self, slot: Slot) -> None:
        reading = self._readings.get(slot)
        if reading is None:
            return
        began = self._loop.time()
        turn = slot.output.read(slot.busy)
        is_quiet = turn is Turn.DRY and slot.output.is_silent and not reading.is_output_paused
        pause = 0.0 if is_quiet else self._charge(reading, began)
        if slot.output.has_success:
            self._pass_on(slot)
            self._check(slot)
        if is_quiet:
            return
        if turn is Turn.END:
            self._loop.remove_reader(slot.output_descriptor)
        elif turn is Turn.DRY and not pause:
            if reading.is_output_paused:
                reading.is_output_paused = False
                self._greedy -= 1
                self._loop.add_reader(slot.output_descriptor, self._read_output, slot)
        else:
            if not reading.is_output_paused:
                reading.is_output_paused = True
                self._greedy += 1
                self._loop.remove_reader(slot.output_descriptor)
            self._loop.call_later(pause, self._read_output, slot)


_LAST_TURNS = 1000
"""Far more than what a pipe holds can take."""
