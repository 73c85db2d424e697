"""Reads what children report, records and output, a bounded amount in each turn of the event loop.

The end of a job counts once all its output is in the log. That may take several turns. Until then
its record waits, together with everything that the child reports after it. A child that uses more
of the loop than its share waits for its next turn; meanwhile its jobs may wait for room in the
pipe.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.output import Turn
from longshore.worker.wire.frames import Ended, Progress

SHARE = 0.25
"""Part of the event loop's time that all children together may take for output and progress,
divided among those that write without pause."""

BURST = 0.02
"""Seconds of the loop that a child may take at once after a time of silence."""

LONGEST_TURN = 0.005
"""Maximum seconds that count for one turn; if it took longer, other processes had the CPU."""

PROGRESS_INTERVAL = 0.25
"""Seconds between two progress lines of one child. The child itself keeps to twice as much, but the
processes that it forks do not know of each other."""

HANG_UP_GRACE = 1.0
"""Seconds that a child may live after it has closed its end of the results."""


@dataclass(slots=True, kw_only=True)
class _Reading:
    """The progress of reading one child."""

    credit: float = BURST
    """Seconds of the loop that it may use now."""

    charged_at: float = 0.0
    is_output_paused: bool = False
    """Whether its output is not watched, because a turn is scheduled."""

    are_records_paused: bool = False
    has_turn: bool = False
    """Whether a turn for its records is scheduled."""

    progress_at: float = 0.0

    def charge(self, began: float, now: float, *, share: float) -> float:
        """Charge a turn that `began` then and ends `now`; return the wait until the next one."""
        earned = min(BURST, self.credit + (began - self.charged_at) * share)
        self.credit = earned - min(now - began, LONGEST_TURN)
        self.charged_at = now
        return max(0.0, -self.credit / share)

    def pause_output(self) -> None:
        self.is_output_paused = True

    def resume_output(self) -> None:
        self.is_output_paused = False

    def pause_records(self) -> None:
        self.are_records_paused = True

    def resume_records(self) -> None:
        self.are_records_paused = False

    def ask_for_turn(self) -> None:
        self.has_turn = True

    def take_turn(self) -> None:
        self.has_turn = False

    def takes_progress(self, at: float) -> bool:
        """Return whether a line of progress may be logged again."""
        if at - self.progress_at < PROGRESS_INTERVAL:
            return False
        self.progress_at = at
        return True


class Intake:
    """Reads what children report, and passes it on.

    `on_ended(child, record, tail, at)` is called when the first job of `child` has ended, with the
    end of its output and with `at`, the time of its end. `on_read(child)` is called after anything
    was passed on, and `on_fault(child)` when a record is invalid, with the reason in `child.fault`.
    """

    def __init__(
        self,
        *,
        on_ended: Callable[[Child, Ended, str, float], None],
        on_progress: Callable[[Child, Progress], None],
        on_fault: Callable[[Child], None],
        on_read: Callable[[Child], None],
    ) -> None:
        self._on_ended = on_ended
        self._on_progress = on_progress
        self._on_fault = on_fault
        self._on_read = on_read
        self._loop = asyncio.get_running_loop()
        self._readings: dict[Child, _Reading] = {}
        self._greedy = 0
        """The number of paused readings of output or records."""

    def watch(self, child: Child) -> None:
        """Start to read a new child."""
        self._readings[child] = _Reading()
        self._loop.add_reader(child.results, self.read_records, child)
        self._loop.add_reader(child.output_descriptor, self._read_output, child)

    def read_records(self, child: Child) -> None:
        """Read what the child has reported, and pass on as much as possible."""
        if child.fault or child.has_hung_up:
            return
        began = self._loop.time()
        if child.read_records(now=began):
            if isinstance(child.unsettled[-1][0], Progress):
                self._charge_progress(child, began)
            self._pass_on(child)
        if child.has_hung_up:  # a closed end stays readable forever
            self._loop.remove_reader(child.results)
            if not child.is_dead:
                self._loop.call_later(HANG_UP_GRACE, self._outlives_its_end, child)
        self._check(child)

    def has_ended(self, child: Child) -> bool:
        """Return whether the first job of `child` has ended, even if this is not passed on yet."""
        child.output.absorb()
        reading = self._readings.get(child)
        if reading and not reading.is_output_paused:  # the pipe is empty now, and does not wake us
            self._loop.call_soon(self._read_output, child)
        return child.output.has_success_ahead

    async def finish_records(self, child: Child) -> None:
        """Pass on the ends of all jobs that a dead child has reported."""
        child.output.absorb()
        while child.read_records(now=self._loop.time()) or child.unsettled:
            self._pass_on(child)
            await asyncio.sleep(0)
        while child.output.has_success_ahead:
            child.output.seek(child.jobs)
            self._pass_on(child)
            await asyncio.sleep(0)
        self._loop.remove_reader(child.results)

    async def finish_output(self, child: Child) -> str:
        """Read what a dead child has left in its pipe; return the end of its last job's output."""
        # Processes that have escaped may write forever.
        for _ in range(_LAST_TURNS):
            if child.output.read(child.jobs) in (Turn.DRY, Turn.END):
                break
            await asyncio.sleep(0)
        self._pass_on(child)
        if reading := self._readings.pop(child, None):
            self._greedy -= reading.is_output_paused + reading.are_records_paused
        self._loop.remove_reader(child.output_descriptor)
        return child.output.finish(child.jobs)

    def _pass_on(self, child: Child) -> None:
        """Pass on ends and records until one has to wait for its job's output."""
        now = self._loop.time()
        while True:
            if end := child.output.take_success():
                tail, success = end
                if child.accepts(success):
                    self._on_ended(child, success, tail, now)
            elif not child.unsettled or not self._pass_on_record(child):
                break
        reading = self._readings.get(child)
        if child.output.has_lines and reading and not reading.is_output_paused:
            # The pipe may be empty by now, and would not wake us.
            self._loop.call_soon(self._read_output, child)
        self._on_read(child)

    def _pass_on_record(self, child: Child) -> bool:
        """Pass on the first record; return False if it has to wait."""
        record, at = child.unsettled[0]
        is_end = isinstance(record, Ended)
        reading = self._readings.get(child) or self._readings.setdefault(child, _Reading())
        if is_end or child.holds_behind(record.ticket):
            began = self._loop.time()
            found = child.output.seek(child.jobs)
            if found is None:
                self._again(child, reading, self._charge(reading, began))
                return False
            if found and child.output.has_success:  # the success of an earlier job
                return True
        child.unsettled.popleft()
        if not child.accepts(record):
            if is_end and child.culprit and child.culprit.ticket == record.ticket:
                child.output.take_told()  # it belongs to no other job
            return True
        if isinstance(record, Ended):
            self._on_ended(child, record, child.output.take_told(), at)
        elif reading.takes_progress(at):
            self._on_progress(child, record)
        return True

    def _charge(self, reading: _Reading, began: float) -> float:
        return reading.charge(began, self._loop.time(), share=SHARE / max(1, self._greedy))

    def _charge_progress(self, child: Child, began: float) -> None:
        reading = self._readings.get(child)
        if reading and not reading.are_records_paused and (pause := self._charge(reading, began)):
            reading.pause_records()
            self._greedy += 1
            self._loop.remove_reader(child.results)
            self._loop.call_later(pause, self._resume_records, child)

    def _resume_records(self, child: Child) -> None:
        reading = self._readings.get(child)
        if reading and reading.are_records_paused:
            reading.resume_records()
            self._greedy -= 1
            if not (child.is_dead or child.fault or child.has_hung_up):
                self._loop.add_reader(child.results, self.read_records, child)

    def _again(self, child: Child, reading: _Reading, pause: float) -> None:
        if not reading.has_turn and not child.is_dead:
            reading.ask_for_turn()
            self._loop.call_later(pause, self._turn, child, reading)

    def _turn(self, child: Child, reading: _Reading) -> None:
        reading.take_turn()
        if not child.is_dead:
            self._pass_on(child)
            self._check(child)

    def _check(self, child: Child) -> None:
        if child.fault:
            self._loop.remove_reader(child.results)
            self._on_fault(child)

    def _outlives_its_end(self, child: Child) -> None:
        if not child.is_ending:
            child.find_fault("it has closed its end of the results, but lives on")
            self._on_fault(child)

    def _read_output(self, child: Child) -> None:
        reading = self._readings.get(child)
        if reading is None:
            return
        began = self._loop.time()
        turn = child.output.read(child.jobs)
        is_quiet = turn is Turn.DRY and child.output.is_silent and not reading.is_output_paused
        pause = 0.0 if is_quiet else self._charge(reading, began)
        if child.output.has_success:
            self._pass_on(child)
            self._check(child)
        if is_quiet:
            return
        if turn is Turn.END:
            self._loop.remove_reader(child.output_descriptor)
        elif turn is Turn.DRY and not pause:
            if reading.is_output_paused:
                reading.resume_output()
                self._greedy -= 1
                self._loop.add_reader(child.output_descriptor, self._read_output, child)
        else:
            if not reading.is_output_paused:
                reading.pause_output()
                self._greedy += 1
                self._loop.remove_reader(child.output_descriptor)
            self._loop.call_later(pause, self._read_output, child)


_LAST_TURNS = 1000
"""Far more turns than the content of a pipe can take."""
