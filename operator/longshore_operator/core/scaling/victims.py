"""Chooses the workers to remove. Only idle workers are cordoned, and only those that have proved
idle are removed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longshore_operator.core.scaling.observation import ObservedWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Names of workers to cordon, uncordon and remove, with the reasons."""

    cordon: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    going: int = 0
    """How many of `remove` are removed; fewer than all of them if Kubernetes chooses."""


def chosen(
    workers: Sequence[ObservedWorker], *, surplus: int, removable: int, min_life: float
) -> Choice:
    """Choose the workers to cordon, uncordon and remove so that there are `surplus` fewer.

    At most `removable` are removed now. Workers younger than `min_life` seconds stay.
    """
    surplus = max(0, surplus)
    # Kubernetes removes those that have not started before all others, whatever we would choose.
    starting = [worker for worker in workers if worker.state == "starting"][:surplus]
    cordoned = _youngest_first(
        worker for worker in workers if worker.cordoned and worker.state != "starting"
    )
    leaving = cordoned[: surplus - len(starting)]
    uncordon = tuple(worker.name for worker in cordoned[len(leaving) :])
    if surplus == 0:
        return Choice(uncordon=uncordon)
    if obstacle := _obstacle(workers):
        return Choice(uncordon=uncordon, why=(obstacle,))
    idle = _youngest_first(
        worker for worker in workers if _is_empty(worker) and not worker.cordoned
    )
    # An unknown age is not young: the worker was there before the operator looked.
    grown = [worker for worker in idle if worker.age is None or worker.age >= min_life]
    missing = surplus - len(starting) - len(leaving)
    cordon = tuple(worker.name for worker in grown[:missing])
    proved = starting + [worker for worker in leaving if _is_empty(worker)]
    remove = tuple(worker.name for worker in proved[:removable])
    why = []
    if remove:
        why.append(f"removes {len(remove)} workers that hold no job")
    if cordon:
        why.append(f"cordons {len(cordon)} idle workers")
    if missing > len(grown) and len(idle) > len(grown):
        young = len(idle) - len(grown)
        why.append(f"{young} idle workers are younger than scaling.minLife = {min_life:g} s")
    elif missing > len(grown):
        why.append(f"{missing - len(grown)} more can be removed once they are idle")
    return Choice(
        cordon=cordon, uncordon=uncordon, remove=remove, why=tuple(why), going=len(remove)
    )


def all_or_none(
    workers: Sequence[ObservedWorker],
    *,
    replicas: int,
    surplus: int,
    removable: int,
    jobs_wait: bool,
    min_life: float,
) -> Choice:
    """Do the same during a rollout, in which Kubernetes chooses the workers to remove.

    Therefore none is removed before all are proved idle, and none is cordoned while a job waits or
    runs. So a rollout that cannot end, because quota or nodes are missing, keeps no idle workers.
    """
    cordoned = _youngest_first(worker for worker in workers if worker.cordoned)
    if surplus <= 0:
        # Workers that Kubernetes has yet to remove must take no more jobs.
        excess = max(0, len(workers) - replicas)
        return Choice(uncordon=tuple(worker.name for worker in cordoned[excess:]))
    uncordon = tuple(worker.name for worker in cordoned)
    rollout = "during a rollout, Kubernetes chooses the workers to remove"
    busy = [worker for worker in workers if worker.state != "starting" and not _is_empty(worker)]
    if jobs_wait or busy:
        return Choice(uncordon=uncordon, why=(f"{rollout}: none is removed while there is work",))
    idle = [worker for worker in workers if _is_empty(worker)]
    if young := sum(worker.age is not None and worker.age < min_life for worker in idle):
        why = f"{rollout}: {young} idle ones are younger than scaling.minLife = {min_life:g} s"
        return Choice(uncordon=uncordon, why=(why,))
    if cordon := tuple(worker.name for worker in idle if not worker.cordoned):
        return Choice(cordon=cordon, why=(f"{rollout}: all {len(idle)} are cordoned first",))
    if removable <= 0:
        return Choice()
    why = f"{rollout}: none holds a job, so {removable} are removed"
    return Choice(remove=tuple(worker.name for worker in workers), why=(why,), going=removable)


def _obstacle(workers: Sequence[ObservedWorker]) -> str | None:
    """Return why no worker may be removed now; None if some may."""
    silent = sum(worker.state == "unknown" for worker in workers)
    if silent:
        return f"{silent} of {len(workers)} workers are silent, and silence is not idleness"
    unready = sum(worker.state == "busy" and not worker.ready for worker in workers)
    if unready:
        return f"{unready} busy workers are not ready, and Kubernetes would remove these first"
    return None


def _is_empty(worker: ObservedWorker) -> bool:
    return worker.state == "idle" and worker.held == 0


def _youngest_first(workers: Iterable[ObservedWorker]) -> list[ObservedWorker]:
    """Sort in a stable order: any two ticks sort alike."""
    return sorted(workers, key=lambda each: (math.inf if each.age is None else each.age, each.name))
