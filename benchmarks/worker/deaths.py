"""Children killed at random: no job is lost, and each death is charged to the job that ran.

The truth is kept by the jobs: each process that runs any has a file of its own, in memory, to which
a job adds a record with its first line and one with its last. It outlives the process, so its last
record says where the process was when it died:

- within a handler: exactly that run must be charged, and nothing else for this death.
- between two: the child was idle, or had a job and had not reached the handler's first line, or had
  passed its last line and not yet reported. None of these is to be told apart from outside, so here
  one charge or none is right, and only for the run that had just ended or one that never wrote.

A run that is charged after its last line is done a second time. That is what "at least once" means;
such runs are counted, not excused.
"""

import functools
import json
import os
import random
import select
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pika

from benchmarks.worker import product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.errors import BenchmarkError
from longshore import Job, handler
from longshore.contract.names import JOBS_EXCHANGE, dead_queue_name
from longshore.contract.retry import RetryPolicy

JOBS = 100_000
TRUTH_ENV = "BENCH_TRUTH"
"""Folder in which each process keeps its file."""

SLOTS = 2
PREFETCH = 32
BETWEEN_KILLS = 0.1
"""Seconds between two kills, on average. Children that die one after another without having done
anything are replaced ever more slowly, so much more often would test little else."""

LONGEST = 0.002
"""Seconds that a job takes at most; half of it on average."""

STALL = 60.0
PORTIONS = 20
_LOOK_INTERVAL = 0.5
_MEMORY = "/dev/shm"
_RECORD = struct.Struct("=IIQ")  # what, attempt, job
_STARTED, _ENDED = 1, 2


@handler(name="mortal")
def mortal(job: Job, number: int, seconds: float) -> None:
    """Say so, take a moment, say so."""
    _write(_STARTED, job.attempt, number)
    time.sleep(seconds)
    _write(_ENDED, job.attempt, number)


def _write(what: int, attempt: int, number: int) -> None:
    # Sixteen bytes never cross a page, so a kill never leaves half a record.
    os.write(_own_file(), _RECORD.pack(what, attempt, number))


@functools.cache
def _own_file() -> int:
    # A process is forked before its first job, never after: no child inherits an open file.
    path = Path(os.environ[TRUTH_ENV]) / _name(os.getpid())
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One attempt at one job."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What one process's jobs have written."""

    started: tuple[Run, ...] = ()
    ended: frozenset[Run] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """What a run with random kills showed."""

    jobs: int
    seconds: float
    kills: int
    """Children that were killed."""

    killed_in_handler: int
    """Of these, between a handler's first and last line."""

    charged_in_handler: int
    charged_before_first_line: int
    charged_after_last_line: int
    """Runs that had done their work and are done again."""

    uncharged: int
    """Deaths of children that had nothing, or had reported it."""

    runs: int
    """In all, one for each job and each charge whose handler began."""

    missing: int
    """Jobs never done."""

    left: int
    """Jobs that are still in the queue, or among the dead letters."""

    mismatches: int
    """Deaths within a handler that charged no job, another or several; charges without a death;
    attempts that began twice; attempts missing in a row."""

    examples: tuple[str, ...] = field(default=())


def measure(broker: Broker, scale: float) -> Deaths:
    """Have `JOBS` jobs done by children that are killed at random."""
    return charge(broker, jobs=round(JOBS * scale), chance=random.Random(7))


def charge(
    broker: Broker, *, jobs: int, chance: random.Random, between_kills: float = BETWEEN_KILLS
) -> Deaths:
    """Have `jobs` jobs done while children are killed; hold what was charged against the truth."""
    settings = msgspec.structs.replace(
        product.config(slots=SLOTS, prefetch=PREFETCH),
        handlers=(__name__,),
        retry=RetryPolicy(max_attempts=1000, initial_delay=0.0, jitter=0.0),
    )
    with TemporaryDirectory(dir=_MEMORY) as name:
        truth = Path(name)
        with product.running(broker, settings, variables={TRUTH_ENV: name}) as worker:
            began = time.monotonic()
            killed = _kill_until_done(
                worker,
                truth,
                jobs=jobs,
                enqueuing=_enqueue(worker, jobs, chance),
                pauses=lambda: chance.expovariate(1 / between_kills),
                chance=chance,
            )
            seconds = time.monotonic() - began
            worker.session.stop()
            worker.vhost.await_consumers(product.QUEUE, count=0, seconds=STALL)
            left = worker.vhost.depth(product.QUEUE).ready
            left += worker.vhost.depth(dead_queue_name(product.QUEUE)).ready
            log = worker.session.log.read_text(errors="replace").splitlines()
        return account(_truths(truth), log, jobs=jobs, killed=killed, left=left, seconds=seconds)


def account(
    truths: Mapping[int, Truth],
    log: Iterable[str],
    *,
    jobs: int,
    killed: Sequence[tuple[int, Run | None]],
    left: int,
    seconds: float,
) -> Deaths:
    """Compare. `truths` by process; `log` of the worker; `killed` with the run that each was in."""
    charges, succeeded = _charges(log)
    started = Counter(run for truth in truths.values() for run in truth.started)
    ended = {run for truth in truths.values() for run in truth.ended}
    faults = [f"{run} began {count} times" for run, count in started.items() if count > 1]
    faults += [f"charged without a kill: {each}" for each in charges if each not in dict(killed)]
    in_handler = before = after = uncharged = 0
    by_pid: dict[int, list[Run | None]] = {}
    for pid, run in killed:
        by_pid.setdefault(pid, []).append(run)
    for pid, runs in by_pid.items():
        due = Counter(run for run in runs if run)
        got = Counter(charges.get(pid, ()))
        in_handler += (got & due).total()
        faults += [f"{run} died in {pid} and was not charged" for run in due - got]
        rest = list((got - due).elements())
        unseen = [run for run in rest if run not in started]
        done = [run for run in rest if run in truths.get(pid, Truth()).ended]
        before, after = before + len(unseen), after + len(done)
        faults += [f"{run} charged to {pid}" for run in rest if run not in (*unseen, *done)]
        between = runs.count(None)
        uncharged += max(0, between - len(rest))
        if len(rest) > between:
            faults.append(f"{pid}: {rest} charged for {between} deaths between jobs")
    charged = Counter(run for runs in charges.values() for run in runs)
    faults += [f"{run} charged {count} times" for run, count in charged.items() if count > 1]
    for job, attempts in _attempts(charged, succeeded).items():
        if attempts != list(range(1, len(attempts) + 1)):
            faults.append(f"job {job} has attempts {attempts}")
    return Deaths(
        jobs=jobs,
        seconds=seconds,
        kills=len(killed),
        killed_in_handler=sum(run is not None for _, run in killed),
        charged_in_handler=in_handler,
        charged_before_first_line=before,
        charged_after_last_line=after,
        uncharged=uncharged,
        runs=started.total(),
        missing=jobs - len({run.job for run in ended & set(succeeded)}),
        left=left,
        mismatches=len(faults),
        examples=tuple(faults[:10]),
    )


BOUNDS = (
    Bound("random kills: jobs not done", Side.AT_MOST, 0, "jobs", lambda found: found.missing),
    Bound("random kills: jobs left over", Side.AT_MOST, 0, "jobs", lambda found: found.left),
    Bound(
        "random kills: deaths not charged to exactly the job that ran",
        Side.AT_MOST,
        0,
        "deaths",
        lambda found: found.mismatches,
    ),
)


def _enqueue(worker: product.Running, jobs: int, chance: random.Random) -> Iterator[None]:
    """Enqueue so many jobs, and stop for a moment `PORTIONS` times."""
    for number in range(jobs):
        if number % max(1, jobs // PORTIONS) == 0:
            yield
        arguments = {"number": number, "seconds": chance.uniform(0, LONGEST)}
        properties = pika.BasicProperties(
            type="mortal",
            content_type="application/json",
            delivery_mode=2,
            message_id=str(number),
        )
        body = json.dumps(arguments).encode()
        worker.vhost.channel.basic_publish(JOBS_EXCHANGE, product.QUEUE, body, properties)


def _kill_until_done(
    worker: product.Running,
    truth: Path,
    *,
    jobs: int,
    enqueuing: Iterator[None],
    pauses: Callable[[], float],
    chance: random.Random,
) -> list[tuple[int, Run | None]]:
    """The processes killed, each with the run that it was in.

    Between two kills the next portion of jobs is enqueued: were all enqueued before the first kill,
    a busy machine would have done most of them by then.
    """
    (zygote,) = _children(worker.session.pid)
    killed: list[tuple[int, Run | None]] = []
    left, changed, look = jobs, time.monotonic(), 0.0
    while left:
        next(enqueuing, None)
        time.sleep(pauses())
        if victims := _children(zygote):
            pid = chance.choice(victims)
            with suppress(OSError):  # it is gone
                name = _name(pid)
                _kill(pid)
                killed.append((pid, _interrupted(truth / name)))
        now = time.monotonic()
        if now < look:
            continue
        worker.session.check_alive()
        look = now + _LOOK_INTERVAL
        before, left = left, worker.vhost.depth(product.QUEUE).ready
        if not left:  # only now is it worth reading them all
            left = jobs - len({run.job for each in _truths(truth).values() for run in each.ended})
        if left != before:
            changed = now
        if now - changed > STALL:
            raise BenchmarkError(f"{left} of {jobs} jobs not done, and none for {STALL:g} s")
    return killed


def _kill(pid: int) -> None:
    """Kill a child and wait until it runs no more. Raises OSError for one that is dead already."""
    handle = os.pidfd_open(pid)
    try:
        if _stat(pid)[0] in _DEAD:
            raise ProcessLookupError(pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])
    finally:
        os.close(handle)


_DEAD = "ZX"


def _name(pid: int) -> str:
    # Process ids come again; together with the time of its start it is one process.
    return f"{pid}-{_stat(pid)[19]}"


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _truths(folder: Path) -> dict[int, Truth]:
    truths: dict[int, Truth] = {}
    for path in folder.iterdir():
        pid, more = int(path.name.partition("-")[0]), _read(path)
        known = truths.get(pid, Truth())
        truths[pid] = Truth(started=known.started + more.started, ended=known.ended | more.ended)
    return truths


def _read(path: Path) -> Truth:
    data = path.read_bytes()
    records = list(_RECORD.iter_unpack(data[: len(data) - len(data) % _RECORD.size]))
    return Truth(
        started=tuple(Run(job, attempt) for what, attempt, job in records if what == _STARTED),
        ended=frozenset(Run(job, attempt) for what, attempt, job in records if what == _ENDED),
    )


def _interrupted(path: Path) -> Run | None:
    """The run that a dead process was in; None between two."""
    data = path.read_bytes()[-_RECORD.size :] if path.exists() else b""
    if not data:
        return None
    what, attempt, job = _RECORD.unpack(data)
    return Run(job, attempt) if what == _STARTED else None


def _charges(log: Iterable[str]) -> tuple[dict[int, list[Run]], list[Run]]:
    """Runs that were charged, by the process that died, and runs that succeeded."""
    charges: dict[int, list[Run]] = {}
    succeeded = []
    for line in log:
        if '"event": "job-settled"' not in line:
            continue
        event = json.loads(line)
        run = Run(int(event["job"]), event["attempt"])
        if event["outcome"] == "succeeded":
            succeeded.append(run)
        elif event["outcome"] == "retried":
            charges.setdefault(event["pid"], []).append(run)
    return charges, succeeded


def _attempts(charged: Iterable[Run], succeeded: Iterable[Run]) -> dict[int, list[int]]:
    attempts: dict[int, list[int]] = {}
    for run in (*charged, *succeeded):
        attempts.setdefault(run.job, []).append(run.attempt)
    return {job: sorted(numbers) for job, numbers in attempts.items()}
