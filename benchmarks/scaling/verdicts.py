"""Each number that is asked of the scaler and that a simulation can show."""

from collections.abc import Iterator, Sequence

from benchmarks.scaling.compare import LONGSHORE, Duel, Round
from benchmarks.scaling.cost import Cost
from benchmarks.scaling.rush import Rush
from benchmarks.worker.checks import Check, Side

BOOT = 10.0
"""Seconds of start-up for which the numbers are asked."""

MOST, LEAST = Side.AT_MOST, Side.AT_LEAST


def checks(
    rounds: Sequence[Round], duels: Sequence[Duel], *, rushes: dict[str, Rush], cost: Cost
) -> list[Check]:
    """All of them."""
    return [
        *_harm(rounds),
        *_against_best(duels),
        *_against_default(duels),
        *_rush(rushes),
        Check(
            name="decide for 1,000 TaskQueues, 50 active",
            side=MOST,
            target=100,
            unit="ms",
            measured=cost.tick_ms,
            note="a third of the 300 ms of a full tick",
        ),
        Check(name="decide without work", side=MOST, target=50, unit="µs", measured=cost.idle_us),
    ]


def _harm(rounds: Sequence[Round]) -> Iterator[Check]:
    yield Check(
        name="jobs killed by scaling",
        side=MOST,
        target=0,
        unit="jobs",
        measured=sum(each.measures.killed for each in rounds if each.case.contender == LONGSHORE),
        note="in all runs",
    )


def _against_best(duels: Sequence[Duel]) -> Iterator[Check]:
    for seeds in dict.fromkeys(each.seeds for each in duels):
        group = [each for each in duels if each.seeds == seeds and each.boot == BOOT]
        if not group:
            continue
        lost = ", ".join(each.trace for each in group if not each.is_won)
        yield Check(
            name=f"traces won against the best KEDA, {seeds} seeds",
            side=LEAST,
            target=4,
            unit="of 5",
            measured=sum(each.is_won for each in group),
            note=f"lost: {lost}" if lost else "",
        )


def _against_default(duels: Sequence[Duel]) -> Iterator[Check]:
    for each in duels:
        if each.boot == BOOT and each.trace in ("sparse", "spike", "bursty"):
            yield Check(
                name=f"p95 wait beside KEDA's default, {each.trace}, {each.seeds} seeds",
                side=MOST,
                target=0.35,
                unit="x",
                measured=each.p95_of_default,
            )


def _rush(rushes: dict[str, Rush]) -> Iterator[Check]:
    for kind, rush in rushes.items():
        for name, target, unit, measured in (
            ("first job begins", 3, "s", rush.first),
            ("drained", 14, "s", rush.drained),
            ("p95 wait", 10, "s", rush.p95),
            ("pods in all", 400, "pod·s", rush.pod_seconds),
            ("patches to all workers", 1, "patch", rush.patches),
        ):
            yield Check(
                name=f"60 jobs at once, {kind}: {name}",
                side=MOST,
                target=target,
                unit=unit,
                measured=measured,
            )
