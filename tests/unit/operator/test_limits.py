from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.app.scaling.limits import CurrentLimits, Sharer, sharers
from longshore_operator.app.scaling.state import ScalingRecord, begun
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject, task_queue
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.scaling import Decision, Limit
from longshore_operator.core.scaling.limits import ceiling_of
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.workers.missing import APPEAR_WITHIN, MissingPods
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from tests.unit.operator.kubernetes import Kubernetes

A, B = ("shop", "a"), ("shop", "b")


def scaling(**parts: Any) -> Scaling:
    return Scaling.model_validate({"max": 20, "budget": {"group": "gpu"}} | parts)


def limits(**budgets: int) -> CurrentLimits:
    return CurrentLimits(today=lambda: datetime(2026, 11, 21, 12, tzinfo=UTC), budgets=budgets)


def wanting(claim: int | None, *, current: int | None = 0) -> Sharer:
    decision = None if claim is None else Decision(replicas=None, why=("",), claim=claim)
    return Sharer(scaling=scaling(), current=current, decision=decision)


def test_a_budget_is_divided_by_what_was_wanted() -> None:
    found = limits(gpu=8)
    found.divide([(A, wanting(20)), (B, wanting(2))])

    assert found.of(A, scaling(), current=0) == (
        Limit(name="budget 'gpu'", ceiling=6, is_share=True, keeps=6),
    )
    assert found.of(B, scaling(), current=0) == (
        Limit(name="budget 'gpu'", ceiling=2, is_share=True, keeps=2),
    )


def test_what_is_not_known_keeps_what_it_has_and_counts() -> None:
    found = limits(gpu=8)
    found.divide([(A, wanting(20)), (B, wanting(None, current=5))])

    assert found.of(A, scaling(), current=0)[0].ceiling == 3
    assert found.of(B, scaling(), current=5)[0].ceiling == 4


def test_an_unknown_budget_does_not_let_grow_and_is_named() -> None:
    found = limits()
    found.divide([(A, wanting(20))])
    (limit,) = found.of(A, scaling(), current=3)

    assert limit.ceiling == 3
    assert "'gpu'" in limit.name


@pytest.mark.parametrize(
    ("budgets", "known"),
    [({}, "which is empty"), ({"cpu": 3, "batch": 9}, "which lists batch, cpu")],
)
def test_an_unknown_budget_is_trouble_that_names_those_that_there_are(
    budgets: dict[str, int], known: str
) -> None:
    (limit,) = limits(**budgets).of(A, scaling(), current=3)

    assert limit.trouble is not None
    assert limit.trouble.reason == "BudgetUnknown"
    assert "scaling.budget.group 'gpu'" in limit.trouble.message
    assert known in limit.trouble.message


def test_a_budget_that_there_is_is_no_trouble() -> None:
    (limit,) = limits(gpu=8).of(A, scaling(), current=3)

    assert limit.trouble is None


def test_windows_hold_by_the_time_of_day() -> None:
    noon = {"cron": "0 12 * * *", "duration": "1h", "min": 4}
    found = limits().of(A, scaling(budget=None, windows=[noon]), current=0)

    assert [each.floor for each in found] == [4]


def test_a_rollout_keeps_to_windows_and_not_to_the_share_of_this_moment() -> None:
    night = Limit(name="night", ceiling=4)
    share = Limit(name="budget 'gpu'", ceiling=1, is_share=True)

    assert ceiling_of(scaling(max=10), limits=[night, share]) == 4
    assert ceiling_of(scaling(max=10), limits=[share]) == 10


def test_what_is_kept_without_being_wanted_is_given_back_as_far_as_others_lack_it() -> None:
    found = limits(gpu=8)
    found.divide([(A, wanting(0, current=5)), (B, wanting(4, current=3))])

    (limit,) = found.of(A, scaling(), current=5)
    assert (limit.ceiling, limit.keeps) == (0, 4)
    found.divide([(A, wanting(0, current=5)), (B, wanting(3, current=3))])
    assert found.of(A, scaling(), current=5)[0].keeps == 5


def lacking() -> ScalingRecord:
    """Nine replicas have no pod."""
    state = ScalingState(
        tally=Tally(since=0),
        recent=Recent(since=0),
        missing=MissingPods(count=9, pods=1, since=0),
    )
    return ScalingRecord(state=state)


def remembered(task_queue: TaskQueueObject, record: ScalingRecord) -> States[ScalingRecord]:
    states = States(new=lambda _: record)
    states.of(A, task_queue)
    return states


def sharer(record: ScalingRecord, *, asked: int, now: float) -> Sharer:
    """How a TaskQueue whose Deployment asks for so many is seen by its budget."""
    queue = task_queue(
        {
            "metadata": {"namespace": "shop", "name": "a", "uid": "u"},
            "spec": {
                "timeLimit": {"hard": "60s"},
                "worker": {"image": "i", "handlers": ["m"]},
                "scaling": {"max": 20, "budget": {"group": "gpu"}},
            },
        }
    )
    states = remembered(queue, record)
    world = World(deployments={A: [DeploymentObject(replicas=asked, uid="d")]})
    ((_, found),) = sharers(
        {A: queue}, workloads=Kubernetes().workloads(world), states=states, now=now
    )
    return found


def test_a_budget_counts_workers_that_cannot_be_had_as_little_as_those_that_are_not_asked_for() -> (
    None
):
    """One TaskQueue under a quota, with ten replicas and one pod, starves no other."""
    record = lacking()
    blocked = sharer(record, asked=10, now=APPEAR_WITHIN)
    found = limits(gpu=10)
    found.divide([(A, blocked), (B, wanting(9))])

    assert blocked.current == 1
    assert found.of(B, scaling(), current=0)[0].ceiling == 9


def test_a_budget_counts_workers_that_are_on_their_way() -> None:
    record = lacking()

    assert sharer(record, asked=10, now=APPEAR_WITHIN / 2).current == 10


def test_a_budget_counts_the_workers_of_a_task_queue_whose_spec_cannot_be_read_any_more() -> None:
    unreadable = task_queue(
        {
            "metadata": {"namespace": "shop", "name": "a", "uid": "u"},
            "spec": {
                "timeLimit": {"hard": "60s"},
                "worker": {"image": "i", "handlers": ["m"]},
                "scaling": {
                    "max": 20,
                    "budget": {"group": "gpu", "weight": "much"},
                    "windows": [{"cron": "0 25 * * *", "duration": "1h", "max": 1}],
                },
            },
        }
    )
    assert unreadable.spec is None
    world = World(deployments={A: [DeploymentObject(replicas=5, uid="d")]})
    record = begun(unreadable, since=0)
    # What was wanted before it became unreadable counts no more.
    wanted = Decision(replicas=9, why=("",), claim=9)
    record.state = replace(record.state, decision=wanted)
    states = remembered(unreadable, record)

    seen = dict(
        sharers({A: unreadable}, workloads=Kubernetes().workloads(world), states=states, now=0)
    )
    found = limits(gpu=8)
    found.divide([*seen.items(), (B, wanting(20))])

    assert found.of(B, scaling(), current=0)[0].ceiling == 3
