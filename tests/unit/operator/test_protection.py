from typing import Any

import pytest

from longshore_operator.app.scaling.protection import IDLE_FOR, Protection
from longshore_operator.app.watched.world import World
from longshore_operator.core.scaling.sight import Sight
from tests.unit.operator.kubernetes import Kubernetes
from tests.unit.operator.specs import spec, worker
from tests.unit.operator.test_workers import KEY, pod, report

PROTECTED, FREE = "annotate a false true", "annotate a None"


class Node:
    """One worker `a`, seen again and again."""

    def __init__(self, **parts: Any) -> None:
        self.kubernetes = Kubernetes()
        self.protection = Protection(world=World(), workloads=self.kubernetes.workloads())
        self.spec = spec(**parts)

    async def seen(
        self, *, now: float, busy: int | None, protected: bool, evictable: bool = False
    ) -> list[str]:
        self.kubernetes.calls.clear()
        reports = {} if busy is None else {"a": report("a", busy=busy, held=busy)}
        pods = (pod("a", is_protected=protected),)
        sight = Sight(key=KEY, deployment=None, pods=pods, reports=reports, now=now)
        await self.protection.keep(sight, self.spec, evictable=evictable)
        return self.kubernetes.calls


async def test_a_worker_may_be_moved_when_it_was_idle_for_a_while_and_not_with_a_job() -> None:
    node = Node()

    assert await node.seen(now=0, busy=1, protected=True) == []
    assert await node.seen(now=IDLE_FOR - 1, busy=0, protected=True) == []
    assert await node.seen(now=IDLE_FOR, busy=0, protected=True) == [FREE]
    assert await node.seen(now=IDLE_FOR + 1, busy=0, protected=False) == []
    assert await node.seen(now=IDLE_FOR + 2, busy=1, protected=False) == [PROTECTED]


async def test_a_silent_worker_stays_as_it_is() -> None:
    node = Node()
    await node.seen(now=0, busy=0, protected=True)

    assert await node.seen(now=IDLE_FOR * 2, busy=None, protected=True) == []


async def test_short_jobs_and_users_own_annotations_are_left_alone() -> None:
    own = {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}}
    users, short = Node(worker=worker(podTemplate=own)), Node()

    for node, evictable in ((users, False), (short, True)):
        for now in (0, IDLE_FOR * 2):
            assert await node.seen(now=now, busy=0, protected=True, evictable=evictable) == []


@pytest.mark.parametrize("metadata", ["x", ["x"], {"annotations": ["x"]}, {"annotations": "x"}])
async def test_metadata_of_any_shape_does_not_end_the_tick(metadata: object) -> None:
    node = Node(worker=worker(podTemplate={"metadata": metadata}))

    assert await node.seen(now=0, busy=1, protected=False) == [PROTECTED]
