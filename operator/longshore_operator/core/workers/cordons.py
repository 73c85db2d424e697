"""Tracks which workers were ordered to take no more jobs, and whose confirmation counts."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from longshore.contract.orders import CORDON_LEASE, CordonOrder, DrainOrder, Order, UncordonOrder
from longshore.contract.reports import WorkerReport

REPEAT_AFTER = 2.0
"""Seconds after which a cordon that its worker has not confirmed is ordered again."""

RENEW_AFTER = CORDON_LEASE / 4
"""Seconds after which the lease of a cordon that is still wanted is renewed."""

TRUSTED_FOR = CORDON_LEASE / 2
"""Seconds since the last order in which the report of a cordoned worker counts as a confirmation.
The rest of the lease is the time that Kubernetes has to remove the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cordon:
    """The cordon of one worker. Times are seconds of the caller's clock."""

    id: str
    told: float


@dataclass(frozen=True, slots=True)
class Cordons:
    """The cordons of one TaskQueue, by worker. A forgotten cordon ends: a worker that reports a
    cordon that is not here is uncordoned."""

    ordered: Mapping[str, Cordon] = field(default_factory=dict)

    def has(self, report: WorkerReport, *, now: float) -> bool:
        """Return whether the worker has confirmed that it gets no more jobs, and that still
        counts."""
        cordon = self.ordered.get(report.worker)
        return cordon is not None and report.cordon == cordon.id and now - cordon.told < TRUSTED_FOR

    def is_proved_idle(self, report: WorkerReport | None, *, now: float) -> bool:
        """Return whether the worker holds no job and will get none."""
        return (
            report is not None and self.has(report, now=now) and not report.held and not report.busy
        )


Orders = tuple[tuple[str, Order], ...]


class CordonPlan(Protocol):
    """The part of a decision that concerns cordons."""

    @property
    def holds(self) -> str | None:
        """Why nothing is changed; None if the decision is carried out."""
        ...

    @property
    def cordon(self) -> tuple[str, ...]:
        """Workers that should take no new jobs."""
        ...

    @property
    def uncordon(self) -> tuple[str, ...]:
        """Cordoned workers that are needed after all."""
        ...


def followed(
    cordons: Cordons,
    decision: CordonPlan,
    *,
    reports: Mapping[str, WorkerReport],
    leaving: Collection[str],
    now: float,
    new_id: Callable[[], str],
) -> tuple[Cordons, Orders]:
    """Return the cordons after `decision`, and the orders that are necessary for them.

    `leaving` are workers that Kubernetes was asked to remove: they stay cordoned until they end.
    """
    confirmed = {
        worker
        for worker, cordon in cordons.ordered.items()
        if worker in reports and reports[worker].cordon == cordon.id
    }
    if decision.holds:
        # Nothing is known, or nothing should be changed: cordons are not renewed, so they end.
        wanted = {*cordons.ordered} - {*decision.uncordon}
    else:
        wanted = {*decision.cordon, *leaving, *(confirmed - {*decision.uncordon})}
    ordered, orders = dict[str, Cordon](), list[tuple[str, Order]]()
    for worker in sorted(wanted & reports.keys()):
        cordon = cordons.ordered.get(worker)
        if cordon is None:
            cordon = Cordon(id=new_id(), told=now)
            orders.append((worker, CordonOrder(id=cordon.id)))
        elif not decision.holds and now - cordon.told >= (
            RENEW_AFTER if worker in confirmed else REPEAT_AFTER
        ):
            cordon = replace(cordon, told=now)
            orders.append((worker, CordonOrder(id=cordon.id)))
        ordered[worker] = cordon
    for worker, report in sorted(reports.items()):
        if worker not in ordered and (stray := _cordon_of(worker, report, cordons)):
            orders.append((worker, UncordonOrder(id=stray)))
    return Cordons(ordered), tuple(orders)


def _cordon_of(worker: str, report: WorkerReport, cordons: Cordons) -> str | None:
    ordered = cordons.ordered.get(worker)
    return report.cordon or (ordered.id if ordered else None)


def drains(reports: Mapping[str, WorkerReport], *, ending: Collection[str]) -> Orders:
    """Return orders for workers that do not drain although their pods are being terminated."""
    return tuple(
        (worker, DrainOrder())
        for worker in sorted(reports.keys() & set(ending))
        if not reports[worker].draining and "drain" in reports[worker].understands
    )
