"""One round: a full queue, one contender, and the time it takes to work the queue off.

The rate is taken from the queue itself. While a consumer's prefetch is full, the broker hands out a
job for each one that is acked, so over that time the fall of `ready` counts acks exactly. It is
full from shortly after the last consumer has come until `ready` is 0: what one process does while
another still starts is not counted, nor are the last few jobs, in flight when the queue is empty.

A round counts only if every job ran exactly once (the jobs' own ledger) and none came back into
the queue when the contender was gone, which is so only if every one was acked.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.worker import ledger, product
from benchmarks.worker.broker import Broker, Vhost
from benchmarks.worker.contenders import QUEUE, Cell, Contender
from benchmarks.worker.errors import BenchmarkError, RoundSpoiled
from benchmarks.worker.processes import Session, cpu_seconds, machine_cpu_seconds, session
from benchmarks.worker.product import ROOT
from benchmarks.worker.wire import Sample, fill, take_sample

POLL = 0.015
STALL = 30.0
"""Seconds without a single job after which a round is given up."""

_MEMORY = "/dev/shm"
"""The ledger is shared memory that has a name."""

_SAMPLE_DEADLINE = 30.0
_LEAVE_DEADLINE = 10.0
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one drain showed."""

    number: int
    """Contenders are compared within a round, as all of it ran under much the same conditions."""

    contender: str
    queue_type: str
    prefetch: int
    jobs: int
    """Drained in all, each exactly once."""

    measured_jobs: int
    """Acked within the measured time."""

    seconds: float
    jobs_per_second: float
    worker_cpu_us: float
    """Processor time of all the contender's processes, per job."""

    broker_cpu_us: float | None
    """The broker's, per job; None where its process cannot be seen."""

    other_cores: float
    """Cores that the rest of the machine kept busy meanwhile: how quiet it was."""

    stop_seconds: float
    """From SIGTERM, with no job left, until no process was."""

    @property
    def cell(self) -> str:
        """Its conditions, as they are called in tables."""
        return f"{self.queue_type}/{self.prefetch}"


def sample_of(contender: Contender, cell: Cell, *, broker: Broker) -> Sample:
    """One job of the contender's own client."""
    with _stage(contender, cell, broker=broker) as stage:
        with stage.run(contender.send) as sender:
            if sender.process.wait(_SAMPLE_DEADLINE):
                raise BenchmarkError(f"{contender.name} sent no job: {sender.last_words()}")
        return take_sample(stage.vhost, QUEUE)


def drain(
    contender: Contender, cell: Cell, *, broker: Broker, sample: Sample, jobs: int, number: int
) -> Round:
    """Let `contender` work off `jobs` jobs in round `number`. Raises RoundSpoiled."""
    with _stage(contender, cell, broker=broker) as stage:
        fill(stage.vhost, QUEUE, sample=sample, jobs=jobs)
        with stage.run(contender.work) as worker:
            moments = list(stage.watch(worker, jobs=jobs))
            drained_at = time.monotonic()
        stop_seconds = time.monotonic() - drained_at
        stage.verify(jobs=jobs)
    return _round(
        contender, cell, jobs=jobs, moments=moments, stop_seconds=stop_seconds, number=number
    )


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    ready: int
    worker_cpu: float
    broker_cpu: float | None
    other_cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    contender: Contender
    cell: Cell
    vhost: Vhost
    folder: Path

    def run(self, command: Sequence[str]) -> AbstractContextManager[Session]:
        variables = {
            **self.contender.variables(self.vhost.url, self.cell),
            ledger.LEDGER_ENV: str(self._ledger),
            "PYTHONPATH": str(ROOT),
        }
        return session(command, environment=variables, folder=ROOT, log=self._log)

    def watch(self, worker: Session, *, jobs: int) -> Iterator[_Moment]:
        """What is to be seen while every consumer's prefetch is full, until all jobs have run."""
        in_flight = self.cell.prefetch * self.contender.consumers
        broker = self.vhost.broker.pid
        pids: list[int] = []
        ran, last_run = 0, time.monotonic()
        while ran < jobs:
            worker.check_alive()
            depth = self.vhost.depth(QUEUE)
            now = time.monotonic()
            # Prefetch may still be filling at the first polls; twice its size is surely past that.
            filled = jobs - depth.ready > 2 * in_flight
            if depth.consumers == self.contender.consumers and filled and depth.ready:
                # Listed once: every slot has its process by now, and listing takes milliseconds.
                pids = pids or worker.pids()
                yield _moment(depth.ready, at=now, workers=pids, broker=broker)
            before, ran = ran, ledger.total(self._ledger)
            last_run = now if ran > before else last_run
            if now - last_run > STALL:
                raise RoundSpoiled(f"stuck after {ran} of {jobs} jobs: {worker.last_words()}")
            time.sleep(POLL)

    def verify(self, *, jobs: int) -> None:
        """Raises RoundSpoiled unless every job ran once and was acked."""
        self.vhost.await_consumers(QUEUE, count=0, seconds=_LEAVE_DEADLINE)
        ran, left = ledger.total(self._ledger), self.vhost.depth(QUEUE).ready
        if ran != jobs or left:
            raise RoundSpoiled(f"{ran} runs of {jobs} jobs, {left} left unacked")
        if self.contender.logs_each_job:
            self._verify_log(jobs)

    def _verify_log(self, jobs: int) -> None:
        # A worker that drops lines under load would look faster than it is.
        lines = self._log.read_text(errors="replace").count("\n")
        if lines < jobs:
            raise RoundSpoiled(f"{lines} log lines for {jobs} jobs")

    @property
    def _ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def _log(self) -> Path:
        return self.folder / "log"


@contextmanager
def _stage(contender: Contender, cell: Cell, *, broker: Broker) -> Iterator[_Stage]:
    with broker.vhost() as vhost, TemporaryDirectory(dir=_MEMORY) as name:
        folder = Path(name)
        (folder / "ledger").mkdir()
        product.declare(vhost, queue_type=cell.queue_type)
        yield _Stage(contender=contender, cell=cell, vhost=vhost, folder=folder)


def _moment(ready: int, *, at: float, workers: Sequence[int], broker: int | None) -> _Moment:
    worker_cpu = cpu_seconds(workers)
    broker_cpu = cpu_seconds([broker]) if broker else None
    ours = worker_cpu + (broker_cpu or 0.0) + time.process_time()
    return _Moment(
        at=at,
        ready=ready,
        worker_cpu=worker_cpu,
        broker_cpu=broker_cpu,
        other_cpu=machine_cpu_seconds() - ours,
    )


def _round(
    contender: Contender,
    cell: Cell,
    *,
    jobs: int,
    moments: Sequence[_Moment],
    stop_seconds: float,
    number: int,
) -> Round:
    if len(moments) < 2:
        raise BenchmarkError(
            f"{jobs} jobs are too few: {contender.name} drained them between two polls"
        )
    first, last = moments[0], moments[-1]
    acked, seconds = first.ready - last.ready, last.at - first.at
    per_job = _MICROSECONDS / acked
    return Round(
        number=number,
        contender=contender.name,
        queue_type=str(cell.queue_type),
        prefetch=cell.prefetch,
        jobs=jobs,
        measured_jobs=acked,
        seconds=seconds,
        jobs_per_second=acked / seconds,
        worker_cpu_us=(last.worker_cpu - first.worker_cpu) * per_job,
        broker_cpu_us=None
        if first.broker_cpu is None or last.broker_cpu is None
        else (last.broker_cpu - first.broker_cpu) * per_job,
        other_cores=(last.other_cpu - first.other_cpu) / seconds,
        stop_seconds=stop_seconds,
    )
