"""No-op jobs per second: all contenders in all cells, in rounds that take turns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Check, Side
from benchmarks.worker.contenders import (
    CELERY,
    IN_PROCESS,
    LONGSHORE,
    LONGSHORE_QUIET,
    Cell,
    Contender,
)
from benchmarks.worker.drains import Round, drain, sample_of
from benchmarks.worker.errors import RoundSpoiled
from benchmarks.worker.spread import Spread, spread

OVER_IN_PROCESS = 1.5
OVER_IN_PROCESS_QUIET = 2.0
OVER_CELERY = 5.0

_IN_PROCESS_NAMES = frozenset(each.name for each in IN_PROCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """A round that gives no figure, and why."""

    contender: str
    queue_type: str
    prefetch: int
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All rounds of one contender in one cell."""

    contender: str
    cell: str
    rounds: int
    jobs: int
    jobs_per_second: Spread
    worker_cpu_us: Spread
    broker_cpu_us: Spread | None


def run(
    contenders: Sequence[Contender],
    cells: Sequence[Cell],
    *,
    broker: Broker,
    rounds: int,
    jobs: int,
    tell: Callable[[str], None],
) -> Iterator[Round | Spoiled]:
    """Round by round through all cells; who comes first changes from round to round.

    What slows the machine for a while so hits everybody in every cell, and nobody always has the
    broker's memory as a certain other left it.
    """
    if not rounds:
        return
    samples = {
        (contender.name, cell): sample_of(contender, cell, broker=broker)
        for contender in contenders
        for cell in cells
    }
    for number in range(rounds):
        shift = number % len(contenders)
        for cell in cells:
            for contender in (*contenders[shift:], *contenders[:shift]):
                tell(f"round {number + 1} of {rounds}, {cell}: {contender.name}")
                try:
                    yield drain(
                        contender,
                        cell,
                        broker=broker,
                        sample=samples[contender.name, cell],
                        jobs=round(jobs * contender.share),
                        number=number,
                    )
                except RoundSpoiled as fault:
                    yield Spoiled(
                        contender=contender.name,
                        queue_type=str(cell.queue_type),
                        prefetch=cell.prefetch,
                        fault=str(fault),
                    )


def summaries(rounds: Sequence[Round | Spoiled]) -> list[Summary]:
    """One for each contender in each cell that has a good round, in the order of appearance."""
    groups: dict[tuple[str, str], list[Round]] = {}
    for each in rounds:
        if isinstance(each, Round):
            groups.setdefault((each.cell, each.contender), []).append(each)
    return [_summary(contender, cell, group) for (cell, contender), group in groups.items()]


def checks(rounds: Sequence[Round | Spoiled], *, missing: dict[str, str]) -> list[Check]:
    """The ratios that are asked for in each cell; `missing` tells why a contender has no figure."""
    good = [each for each in rounds if isinstance(each, Round)]
    cells = dict.fromkeys(each.cell for each in good)
    return [
        check
        for cell in cells
        for check in _cell_checks(cell, [e for e in good if e.cell == cell], missing=missing)
    ]


def ratios(rounds: Sequence[Round], *, ours: str, peer: str) -> list[float]:
    """How many times as fast `ours` was as `peer`, for each round of one cell that has both."""
    own, other = (
        {each.number: each.jobs_per_second for each in rounds if each.contender == name}
        for name in (ours, peer)
    )
    return [own[number] / other[number] for number in own if number in other]


def completeness(rounds: Sequence[Round | Spoiled]) -> Check:
    """Whether every round was drained job by job, each exactly once."""
    good = sum(isinstance(each, Round) for each in rounds)
    # One of each kind is enough here: all of them are among the raw rounds.
    faults = {
        f"{each.contender} {each.queue_type}/{each.prefetch}": each.fault
        for each in rounds
        if isinstance(each, Spoiled)
    }
    return Check(
        name="rounds with every job run exactly once and acked",
        side=Side.AT_LEAST,
        target=len(rounds),
        unit=f"of {len(rounds)}",
        measured=good,
        note="; ".join(f"{who}: {fault}" for who, fault in faults.items()),
    )


def _cell_checks(cell: str, rounds: Sequence[Round], *, missing: dict[str, str]) -> list[Check]:
    medians = {
        each.contender: each.jobs_per_second.median
        for each in summaries(rounds)
        if each.contender in _IN_PROCESS_NAMES
    }
    fastest = max(medians, key=medians.__getitem__, default="no in-process peer")
    comparisons = (
        (LONGSHORE.name, fastest, OVER_IN_PROCESS),
        (LONGSHORE_QUIET.name, fastest, OVER_IN_PROCESS_QUIET),
        (LONGSHORE.name, CELERY.name, OVER_CELERY),
    )
    return [
        _ratio(cell, rounds, ours=ours, peer=peer, target=target, note=missing.get(ours, ""))
        for ours, peer, target in comparisons
    ]


def _ratio(
    cell: str, rounds: Sequence[Round], *, ours: str, peer: str, target: float, note: str
) -> Check:
    found = ratios(rounds, ours=ours, peer=peer)
    seen = f"{min(found):.2f} to {max(found):.2f} in single rounds" if found else ""
    return Check(
        name=f"{cell}: {ours} over {peer}",
        side=Side.AT_LEAST,
        target=target,
        unit="times",
        measured=median(found) if found else None,
        note=note or seen or "not measured in this run",
    )


def _summary(contender: str, cell: str, rounds: Sequence[Round]) -> Summary:
    broker = [each.broker_cpu_us for each in rounds if each.broker_cpu_us is not None]
    return Summary(
        contender=contender,
        cell=cell,
        rounds=len(rounds),
        jobs=sum(each.jobs for each in rounds),
        jobs_per_second=spread([each.jobs_per_second for each in rounds]),
        worker_cpu_us=spread([each.worker_cpu_us for each in rounds]),
        broker_cpu_us=spread(broker) if broker else None,
    )
