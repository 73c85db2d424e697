from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from longshore.contract.orders import CORDON_LEASE, CordonOrder, Order, UncordonOrder
from longshore.contract.reports import WorkerReport
from longshore_operator.core.scaling import Decision
from longshore_operator.core.workers.cordons import RENEW_AFTER, REPEAT_AFTER, Cordons, followed

CORDON, UNCORDON = CordonOrder, UncordonOrder


def report(worker: str = "a", **parts: object) -> WorkerReport:
    values = {"queue": "q.q", "worker": worker, "started_at": 0, "slots": 1, "busy": 0, "held": 0}
    return msgspec.convert(values | parts, WorkerReport)


def decision(*, holds: str | None = None, **parts: Any) -> Decision:
    return Decision(replicas=None if holds else 2, why=(), holds=holds, **parts)


@dataclass
class Desk:
    """Gives orders one after another."""

    cordons: Cordons = field(default_factory=Cordons)
    now: float = 100.0
    ids: Iterable[int] = field(default_factory=count)

    def orders(
        self, decision: Decision, *reports: WorkerReport, leaving: tuple[str, ...] = ()
    ) -> list[tuple[str, type[Order]]]:
        self.cordons, orders = followed(
            self.cordons,
            decision,
            reports={report.worker: report for report in reports},
            leaving=leaving,
            now=self.now,
            new_id=lambda: str(next(iter(self.ids))),
        )
        return [(worker, type(order)) for worker, order in orders]

    @property
    def id(self) -> str:
        (cordon,) = self.cordons.ordered.values()
        return cordon.id


def test_a_cordon_is_ordered_once_and_again_only_if_it_is_not_confirmed() -> None:
    desk = Desk()
    asked = decision(cordon=("a",))

    assert desk.orders(asked, report()) == [("a", CORDON)]
    desk.now += REPEAT_AFTER / 2
    assert desk.orders(asked, report()) == []
    desk.now += REPEAT_AFTER
    assert desk.orders(asked, report()) == [("a", CORDON)]
    desk.now += REPEAT_AFTER
    assert desk.orders(decision(), report(cordon=desk.id)) == []


def test_only_the_word_for_this_cordon_is_proof() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())
    proved = desk.cordons.is_proved_idle

    assert proved(report(cordon=desk.id), now=desk.now)
    assert not proved(report(cordon="of before"), now=desk.now)
    assert not proved(report(), now=desk.now)
    assert not proved(report("b", cordon=desk.id), now=desk.now)
    assert not proved(report(cordon=desk.id, held=1), now=desk.now)
    assert not proved(None, now=desk.now)
    assert not proved(report(cordon=desk.id), now=desk.now + CORDON_LEASE * 0.75)


def test_a_cordon_that_is_still_wanted_is_renewed_long_before_it_ends() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())
    said = report(cordon=desk.id)

    desk.now += RENEW_AFTER
    assert desk.orders(decision(), said) == [("a", CORDON)]
    assert desk.cordons.is_proved_idle(said, now=desk.now)


def test_a_worker_is_uncordoned_when_it_is_needed_or_was_never_confirmed() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())
    assert desk.orders(decision(), report()) == [("a", UNCORDON)]
    assert desk.orders(decision(), report()) == []

    desk.orders(decision(cordon=("a",)), report())
    said = report(cordon=desk.id)
    assert desk.orders(decision(uncordon=("a",)), said) == [("a", UNCORDON)]
    assert not desk.cordons.is_proved_idle(said, now=desk.now)


def test_a_cordon_that_nobody_remembers_is_lifted_until_its_worker_says_so() -> None:
    desk = Desk()

    assert desk.orders(decision(), report(cordon="old")) == [("a", UNCORDON)]
    assert desk.orders(decision(holds="DepthUnknown"), report(cordon="old")) == [("a", UNCORDON)]
    assert desk.orders(decision(), report()) == []


def test_while_nothing_is_known_cordons_run_out() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())
    said = report(cordon=desk.id)
    desk.now += RENEW_AFTER

    assert desk.orders(decision(holds="DepthUnknown"), said) == []
    assert desk.orders(decision(holds="Paused", uncordon=("a",)), said) == [("a", UNCORDON)]


def test_a_worker_that_is_being_taken_away_stays_cordoned() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())
    said = report(cordon=desk.id)
    desk.orders(decision(), said)
    desk.now += RENEW_AFTER

    assert desk.orders(decision(), said, leaving=("a",)) == [("a", CORDON)]


def test_a_worker_that_is_gone_is_forgotten() -> None:
    desk = Desk()
    desk.orders(decision(cordon=("a",)), report())

    assert desk.orders(decision()) == []
    assert desk.cordons == Cordons()
