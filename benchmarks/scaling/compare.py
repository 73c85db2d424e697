"""Every contender on every trace: Longshore with its defaults, KEDA with five settings."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from random import Random
from statistics import fmean
from typing import Any

from benchmarks.scaling import keda, traces
from benchmarks.scaling.fleet import Controller, Fleet
from benchmarks.scaling.longshore import Longshore
from benchmarks.scaling.measures import Measures, measured
from longshore_operator.api.v1alpha1 import Scaling

LONGSHORE = "Longshore"
MOST = 100
"""Workers at most, for all."""

_SETTINGS = {each.name: each for each in keda.SETTINGS}
CONTENDERS = (LONGSHORE, *_SETTINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run."""

    trace: str
    contender: str
    boot: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run and its measures."""

    case: Case
    measures: Measures

    def as_json(self) -> dict[str, Any]:
        """One entry of `rounds` in the results."""
        return asdict(self.case) | asdict(self.measures)


def run(cases: Sequence[Case], *, tell: Callable[[str], None]) -> list[Round]:
    """All cases, on as many processes as there are cores."""
    rounds = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done, each in enumerate(pool.map(simulate, cases), start=1):
            rounds.append(each)
            tell(f"{done} of {len(cases)} runs")
    return rounds


def cases(*, boots: Iterable[float], seeds: Sequence[int]) -> list[Case]:
    """The longest first, so that no process is left alone with one."""
    return [
        Case(trace=trace, contender=contender, boot=boot, seed=seed)
        for trace in ("diurnal", "heavy", "bursty", "spike", "sparse")
        for contender in CONTENDERS
        for boot in boots
        for seed in seeds
    ]


def simulate(case: Case) -> Round:
    """One run. The trace depends on the seed alone, so all contenders get the same jobs."""
    trace = traces.ALL[case.trace](Random(f"{case.trace}/{case.seed}"))
    chance = Random(f"{case.contender}/{case.seed}")
    setting = _SETTINGS.get(case.contender)
    controller: Controller = (
        keda.Keda(setting, MOST, chance)
        if setting
        else Longshore(Scaling(max=MOST), phase=chance.random())
    )
    # A worker of ours that is asked to end holds nothing; the grace doesn't matter.
    fleet = Fleet(trace, case.boot, setting.grace if setting else 30.0)
    ended = fleet.run(controller)
    return Round(case=case, measures=measured(fleet, ended=ended))


def mean(rounds: Iterable[Round]) -> Measures:
    """Each measure's mean over rounds that differ in their seeds."""
    found = [each.measures for each in rounds]
    return Measures(
        **{each.name: fmean(getattr(one, each.name) for one in found) for each in fields(Measures)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The mean of one contender on one trace."""

    seeds: str
    """`tuning` or `held-out`."""

    boot: float
    trace: str
    contender: str
    measures: Measures

    def as_json(self) -> dict[str, Any]:
        """One entry of `means` in the results."""
        return {
            "seeds": self.seeds,
            "boot": self.boot,
            "trace": self.trace,
            "contender": self.contender,
        } | asdict(self.measures)


def rows(rounds: Sequence[Round], *, tuning: Sequence[int]) -> list[Row]:
    """Means, tuning seeds and held-out seeds apart."""
    groups: dict[tuple[str, float, str, str], list[Round]] = {}
    for each in rounds:
        case = each.case
        kind = "tuning" if case.seed in tuning else "held-out"
        groups.setdefault((kind, case.boot, case.trace, case.contender), []).append(each)
    return [
        Row(seeds=kind, boot=boot, trace=trace, contender=contender, measures=mean(group))
        for (kind, boot, trace, contender), group in groups.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Longshore beside the KEDA setting that is best on one trace."""

    seeds: str
    boot: float
    trace: str
    best: str
    ours: Measures
    theirs: Measures
    default: Measures
    """KEDA's own default."""

    @property
    def pod_hours(self) -> float:
        """Ours for one of theirs."""
        return self.ours.pod_hours / self.theirs.pod_hours

    @property
    def starts(self) -> float:
        """Ours for one of theirs."""
        return self.ours.starts / self.theirs.starts

    @property
    def p95_of_default(self) -> float:
        """Our p95 wait for one second of KEDA's default."""
        return self.ours.p95 / self.default.p95

    @property
    def is_won(self) -> bool:
        """No more misses, no more pod-hours, at most 1.2 times the starts."""
        return (
            self.ours.misses <= self.theirs.misses and self.pod_hours <= 1.0 and self.starts <= 1.2
        )

    def as_json(self) -> dict[str, Any]:
        """One entry of `duels` in the results."""
        return {
            "seeds": self.seeds,
            "boot": self.boot,
            "trace": self.trace,
            "best": self.best,
            "misses": [self.ours.misses, self.theirs.misses],
            "pod_hours": self.pod_hours,
            "starts": self.starts,
            "p95_of_default": self.p95_of_default,
            "won": self.is_won,
        }


def duels(means: Sequence[Row]) -> list[Duel]:
    """Best is who misses least, and of those that miss alike, who takes the fewest pod-hours."""
    found = []
    for key in dict.fromkeys((each.seeds, each.boot, each.trace) for each in means):
        group = {
            each.contender: each.measures
            for each in means
            if (each.seeds, each.boot, each.trace) == key
        }
        best = min(_SETTINGS, key=lambda name: (group[name].misses, group[name].pod_hours))
        found.append(
            Duel(
                seeds=key[0],
                boot=key[1],
                trace=key[2],
                best=best,
                ours=group[LONGSHORE],
                theirs=group[best],
                default=group["KEDA default"],
            )
        )
    return found
