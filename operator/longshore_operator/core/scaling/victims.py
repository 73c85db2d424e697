"""Which workers go. Only idle ones are asked to; only those that proved it are taken away."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longshore_operator.core.scaling.observation import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Names of workers, and what stands in the way."""

    cordon: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


def chosen(workers: Sequence[Worker], *, surplus: int, removable: int, min_life: float) -> Choice:
    """Who of `workers` is cordoned, uncordoned or taken away so that `surplus` fewer take jobs.

    At most `removable` are taken away now.
    """
    out = [worker for worker in workers if worker.cordoned]
    obstacle = _obstacle(workers)
    # Kubernetes takes workers that have not started before all others, so they are ours to count
    # before we count on any other.
    starting = [worker for worker in workers if worker.state == "starting" and not worker.cordoned]
    going = min(surplus, len(starting))
    keep_cordoned = max(0, surplus - going)
    uncordon = tuple(worker.name for worker in _worst_first(out)[keep_cordoned:])
    if surplus <= 0:
        return Choice(uncordon=uncordon)
    if obstacle:
        return Choice(uncordon=uncordon, why=(obstacle,))
    idle = [
        worker
        for worker in workers
        if worker.state == "idle" and worker.held == 0 and not worker.cordoned
    ]
    old_enough = [worker for worker in idle if _is_old(worker, min_life)]
    cordon = tuple(
        worker.name for worker in _youngest_first(old_enough)[: max(0, keep_cordoned - len(out))]
    )
    proved = [worker.name for worker in starting[:going]] + [
        worker.name
        for worker in out
        if worker.name not in uncordon and worker.state == "idle" and worker.held == 0
    ]
    remove = tuple(proved[:removable])
    return Choice(
        cordon=cordon,
        uncordon=uncordon,
        remove=remove,
        why=_lines(
            surplus=surplus,
            cordon=cordon,
            remove=remove,
            idle=idle,
            old_enough=old_enough,
            min_life=min_life,
            out=len(out),
        ),
    )


def _obstacle(workers: Sequence[Worker]) -> str | None:
    """Why nobody may be taken away now."""
    silent = sum([worker.state == "unknown" for worker in workers])
    if silent:
        return f"{silent} of {len(workers)} workers are silent, and silence is not idleness"
    unready = sum([worker.state == "busy" and not worker.ready for worker in workers])
    if unready:
        return f"{unready} busy workers are not ready, and Kubernetes would take these first"
    return None


def _is_old(worker: Worker, min_life: float) -> bool:
    # An unknown age is not young: the worker was there before the operator looked.
    return worker.age is None or worker.age >= min_life


def _youngest_first(workers: Iterable[Worker]) -> list[Worker]:
    return sorted(workers, key=lambda worker: (_age(worker), worker.name))


def _worst_first(workers: Iterable[Worker]) -> list[Worker]:
    """Cordoned workers; those at the end are the first to work again."""
    return _youngest_first(workers)


def _age(worker: Worker) -> float:
    return math.inf if worker.age is None else worker.age


def _lines(
    *,
    surplus: int,
    cordon: tuple[str, ...],
    remove: tuple[str, ...],
    idle: Sequence[Worker],
    old_enough: Sequence[Worker],
    min_life: float,
    out: int,
) -> tuple[str, ...]:
    lines = []
    if remove:
        lines.append(f"takes {len(remove)} away that hold nothing")
    if cordon:
        lines.append(f"cordons {len(cordon)} idle workers")
    young = len(idle) - len(old_enough)
    short = surplus - len(remove) - len(cordon) - out
    if short > 0 and young:
        lines.append(f"{young} idle workers are younger than scaling.minLife = {min_life:g} s")
    elif short > 0:
        lines.append(f"{short} more go when they are idle")
    return tuple(lines)
