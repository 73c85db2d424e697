"""What jobs wrote down, and what follows from it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a job; seconds since the epoch. `ended` None: it was cut short."""

    job: str
    pod: str
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Jobs that did not run exactly once, from start to end, on a pod that was left alone."""

    lost: int
    killed: int
    repeated: int
    busy_pods_chosen: int
    """Pods that were asked to end while they ran a job, whether or not that could go on."""


def runs(lines: Iterable[str]) -> tuple[Run, ...]:
    """All runs in the ledger."""
    started: dict[tuple[str, int, str], float] = {}
    found = []
    for line in lines:
        entry = json.loads(line)
        which = entry["job"], entry["attempt"], entry["pod"]
        if entry["what"] == "start":
            if which in started:  # the same attempt again on the same pod
                found.append(_run(which, started[which], None))
            started[which] = entry["at"]
        else:
            found.append(_run(which, started.pop(which), entry["at"]))
    found += [_run(which, at, None) for which, at in started.items()]
    return tuple(sorted(found, key=lambda run: run.started))


def _run(which: tuple[str, int, str], started: float, ended: float | None) -> Run:
    return Run(job=which[0], pod=which[2], started=started, ended=ended)


def judged(
    enqueued: Iterable[str], found: Sequence[Run], *, asked_to_end: Mapping[str, float]
) -> Judgement:
    """`asked_to_end` tells when, in seconds since the epoch, which pods were."""
    times = Counter(run.job for run in found)
    return Judgement(
        lost=sum(not times[job] for job in enqueued),
        killed=sum(run.ended is None for run in found),
        repeated=sum(count - 1 for count in times.values()),
        busy_pods_chosen=len(
            {
                run.pod
                for run in found
                if (at := asked_to_end.get(run.pod)) is not None
                and run.started < at
                and (run.ended is None or at < run.ended)
            }
        ),
    )
