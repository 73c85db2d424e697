"""The verdict on a history: pure, and itself tested with histories that must fail.

A repeat is explained only by a fault that hit the worker, the connection or the queue that held the
job between the start and its repeat; or by one that had cut off the worker of the repeat, which
then begins what it had been given before; or, once, by one that cost its producer the confirm, as
the client promises at least once; or, once, by one that hit a worker of its queue while the job
waited, as that worker may have held it and returned a copy. What is a fault says the nemesis, never
Longshore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.history import Fault, History, Started
from chaos.kinds import HARD_LIMIT, KILL_GRACE, KINDS, Kind, Queue, Way

TOLERANCE = 1.0
"""Seconds by which a kill may be late on a machine that pods and brokers share."""

RECONNECTS_IN = 0.02
"""Seconds that a confirm takes at least if the connection was lost before it."""

WATCHED = (Queue.QUICK, Queue.ADOPTED)
"""Queues with jobs enough to tell from them when work has resumed."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Seconds from the healing of a fault, which no other overlapped, to the next job done."""

    fault: str
    seconds: float
    restarts_rabbitmq: bool


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong with a history, each in one sentence, and how long work paused."""

    jobs: int
    runs: int
    repeats: int
    """Runs that a fault explains."""

    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    illegal: list[str] = field(default_factory=list)
    late_kills: list[str] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.unexplained or self.illegal or self.late_kills)


def check(history: History) -> Findings:
    """Judge every job that a producer had a confirm for, and every pause."""
    judged = [_Job(history, number) for number in sorted(history.enqueued)]
    return Findings(
        jobs=len(judged),
        runs=sum(len(job.runs) for job in judged),
        repeats=sum(job.explained_repeats for job in judged),
        lost=[said for job in judged for said in job.lost()],
        unexplained=[said for job in judged for said in job.unexplained()],
        illegal=[said for job in judged for said in job.illegal()],
        late_kills=[said for job in judged for said in job.late_kills()],
        pauses=list(pauses(history)),
    )


_Irregular = dict[
    tuple[tuple[Started, ...], tuple[Started, ...]], tuple[tuple[Started, Started], ...]
]
"""By the runs whose outcome may be in a queue, and those whose own delivery may come back: the
fewest runs that are irregular."""


class _Job:
    """One job's part of the history."""

    def __init__(self, history: History, number: int) -> None:
        self.enqueued = history.enqueued[number]
        self.kind: Kind = KINDS[self.enqueued.kind]
        self.runs = history.starts.get(number, [])
        self._history = history
        self._ends = history.ends
        self._left = history.left.get(number, [])
        self._dead = [left for left in self._left if left.where == "dead"]
        self._queued = [left for left in self._left if left.where != "dead"]
        self._name = f"job {number} ({self.enqueued.kind})"

    # What became of it

    def lost(self) -> Iterator[str]:
        if self._is_done or any(left.where != "lost" for left in self._left):
            return
        where = "is in longshore.lost" if self._left else "is neither done nor queued"
        yield f"{self._name} was confirmed, and {where}; {self._told()}"

    def illegal(self) -> Iterator[str]:
        yield from self._illegal_deaths()
        yield from self._illegal_attempts()
        for run in self.runs:
            due = self.enqueued.asked_at + self.enqueued.delay
            if run.at < due:
                yield f"{self._name} began {due - run.at:.2f} s early"
            if self._died_early(run):
                lived = self._lived(run)
                yield f"{self._name} was killed after {lived:.2f} s, before its limit"

    def _illegal_deaths(self) -> Iterator[str]:
        for letter in self._dead:
            if letter.reason not in self.kind.dies_of:
                allowed = " or ".join(self.kind.dies_of) or "nothing"
                yield f"{self._name} is dead of {letter.reason!r}; it may die of {allowed}"
        if self._is_done and self.kind.dies_of:
            yield f"{self._name} is done, though it never succeeds"

    def _illegal_attempts(self) -> Iterator[str]:
        for run in self.runs:
            if not 1 <= run.attempt <= self.kind.max_attempts:
                yield f"{self._name} began attempt {run.attempt} of {self.kind.max_attempts}"
        if not self.runs or self._may_be_stored_twice:  # then there are two rows of attempts
            return
        first = self.runs[0]
        hits = sum(
            1
            for fault in self._history.faults
            if _overlaps(fault, self.enqueued.asked_at, first.at)
            and (fault.pods is None or fault.pods or self._hits_queue(fault))
        )
        if first.attempt > 1 + hits:
            yield f"{self._name} was charged for {first.attempt - 1} attempts before its first run"
        for before, run in self._irregular():
            step = self._natural_step(before)
            if step is not None:
                yield (
                    f"{self._name} went from attempt {before.attempt} to {run.attempt}; "
                    f"it should have been {before.attempt + step}"
                )

    # Repeats

    def unexplained(self) -> Iterator[str]:
        expected = 1 if self._may_be_stored_twice or self._may_be_returned_twice else 0
        for before, run in self._irregular():
            if self._natural_step(before) is None:
                if expected and run.attempt <= before.attempt:  # the copy's
                    expected -= 1
                    continue
                yield (
                    f"{self._name} began again {run.at - before.at:.2f} s after attempt "
                    f"{before.attempt} on {before.pod}, which {self._way_of(before)}; "
                    "no fault explains it"
                )
        last = self.runs[-1] if self.runs else None
        copies = len(self._queued) + len(self._dead) - expected
        # One more than there should be: it would run again, or was buried twice.
        if last and copies > 0 and self._is_done and not self._any_explained():
            yield f"{self._name} is done, and left {copies} copies; no fault explains them"
        if len(self._dead) > 1 + expected and not self._any_explained():
            yield f"{self._name} has {len(self._dead)} dead letters; no fault explains them"

    def _irregular(self) -> Iterator[tuple[Started, Started]]:
        """Runs that neither follow from one before nor are explained by a fault, each after the run
        before it.

        The outcome of a run may have been stored just before its delivery was lost. Then there are
        two copies of the job, and each counts its own attempts: one run follows from the outcome,
        and one repeats the delivery.
        """
        first = tuple(self.runs[:1])
        found: _Irregular = {(first, first): ()}
        for before, run in pairwise(self.runs):
            after: _Irregular = {}
            for (stored, returned), irregular in found.items():
                ways = [
                    *(
                        (_without(stored, each), returned)
                        for each in self._followed(stored, by=run)
                    ),
                    *(
                        (stored, _without(returned, each))
                        for each in returned
                        if self._is_repeat_explained(each, run)
                    ),
                ]
                also = irregular if ways else (*irregular, (before, run))
                for left_stored, left_returned in ways or [(stored, returned)]:
                    rows = (*left_stored, run), (*left_returned, run)
                    if rows not in after or len(also) < len(after[rows]):
                        after[rows] = also
            found = after
        yield from min(found.values(), key=len)

    def _followed(self, runs: Sequence[Started], *, by: Started) -> Iterator[Started]:
        for run in runs:
            step = self._natural_step(run)
            if step is not None and by.attempt == run.attempt + step:
                yield run

    @property
    def _may_be_stored_twice(self) -> bool:
        """Whether the producer lost its connection before the confirm, and so sent the job again.

        That is what `Client` promises: at least once.
        """
        asked_at, at = self.enqueued.asked_at, self.enqueued.at
        return at - asked_at > RECONNECTS_IN and any(
            fault.pods is None and fault.queues is None and _overlaps(fault, asked_at, at)
            for fault in self._history.faults
        )

    @property
    def _may_be_returned_twice(self) -> bool:
        """Whether a fault hit a worker of its queue before the job began anywhere.

        That worker may have held it, and have ended between the copy that it returned and the ack.
        """
        if not self.runs:
            return False
        workers = f"{self.enqueued.queue}-worker-"
        return any(
            any(pod.startswith(workers) for pod in fault.pods or ())
            and _overlaps(fault, self.enqueued.asked_at, self.runs[0].at)
            for fault in self._history.faults
        )

    @property
    def explained_repeats(self) -> int:
        return sum(
            1
            for one, two in pairwise(self.runs)
            if self._natural_step(one) is None and self._is_repeat_explained(one, two)
        )

    def _natural_step(self, run: Started) -> int | None:
        """By how much the attempt grows where the kind of job repeats by itself; None if not."""
        end = self._ends.get(run.run)
        if end is None:
            return 1 if self.kind.dies_of else None
        if end.way == Way.FAILED and self.kind.failures:
            return 1
        return 0 if end.way == Way.SNOOZED and self.kind.snoozes else None

    def _is_repeat_explained(self, one: Started, two: Started) -> bool:
        # A worker that is stopped or cut off holds jobs, in its socket at the least, which RabbitMQ
        # gives to others meanwhile. When it goes on, it comes to know of that only after them.
        was_cut_off = two.attempt <= one.attempt and any(
            fault.began <= one.at <= fault.healed
            and two.at <= fault.ended
            and _hits(fault.pods, two.pod)
            for fault in self._history.faults
        )
        return was_cut_off or self._explained(one, until=two.at)

    def _explained(self, run: Started, *, until: float) -> bool:
        return any(
            _overlaps(fault, run.at, until)
            and (_hits(fault.pods, run.pod) or self._hits_queue(fault))
            for fault in self._history.faults
        )

    def _any_explained(self) -> bool:
        return any(self._explained(run, until=float("inf")) for run in self.runs)

    def _hits_queue(self, fault: Fault) -> bool:
        return _hits(fault.queues, self.enqueued.queue)

    # Limits

    def late_kills(self) -> Iterator[str]:
        for run in self.runs:
            if not self.kind.never_returns:
                return
            late = self._lived(run) - HARD_LIMIT - KILL_GRACE
            end = run.at + self._lived(run)
            if late > TOLERANCE and not self._explained(run, until=end):
                yield f"{self._name} outlived its hard limit and grace by {late:.2f} s on {run.pod}"

    def _died_early(self, run: Started) -> bool:
        if not self.kind.never_returns or run.run not in self._history.alive:
            return False
        lived = self._lived(run)
        return lived < HARD_LIMIT - TOLERANCE and not self._explained(run, until=run.at + lived)

    def _lived(self, run: Started) -> float:
        return self._history.alive.get(run.run, run.at) - run.at

    # In words

    @property
    def _is_done(self) -> bool:
        return any(
            end.way == Way.DONE for run in self.runs if (end := self._ends.get(run.run)) is not None
        )

    def _way_of(self, run: Started) -> str:
        end = self._ends.get(run.run)
        return f"had ended as {end.way}" if end else "had not ended"

    def _told(self) -> str:
        if not self.runs:
            return "it never began"
        return f"its last run, attempt {self.runs[-1].attempt}, {self._way_of(self.runs[-1])}"


def _without(runs: tuple[Started, ...], run: Started) -> tuple[Started, ...]:
    return tuple(each for each in runs if each is not run)


def pauses(history: History) -> Iterator[Pause]:
    """How long work took to resume after each fault that no other one overlapped.

    Work that never resumes has paused until the last that is known of any job.
    """
    queue_of = {number: enqueued.queue for number, enqueued in history.enqueued.items()}
    done: dict[str, list[float]] = {queue: [] for queue in WATCHED}
    for number, runs in history.starts.items():
        times = done.get(queue_of.get(number, ""))
        if times is not None:
            ends = [history.ends[run.run] for run in runs if run.run in history.ends]
            times.extend(end.at for end in ends if end.way == Way.DONE)
    last = max(
        (
            *(job.at for job in history.enqueued.values()),
            *(run.at for runs in history.starts.values() for run in runs),
            *(end.at for end in history.ends.values()),
        ),
        default=0.0,
    )
    for fault in history.faults:
        others = [other for other in history.faults if other is not fault]
        waits = [
            min((at for at in times if at >= fault.healed), default=last) - fault.healed
            for times in done.values()
            if times
        ]
        longest = max(waits, default=0.0)
        if longest < 0:
            continue  # the run ended with it
        if not any(_overlaps(other, fault.began, fault.healed + longest) for other in others):
            yield Pause(
                fault=fault.kind, seconds=longest, restarts_rabbitmq=fault.restarts_rabbitmq
            )


def _overlaps(fault: Fault, since: float, until: float) -> bool:
    return fault.began <= until and since <= fault.ended


def _hits(hit: tuple[str, ...] | None, name: str) -> bool:
    return hit is None or name in hit
