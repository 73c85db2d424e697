"""An operator that ends after any step of a deletion, and the next one, which finishes it."""

import asyncio
import dataclasses
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, dead_queue_name
from longshore_operator.api.v1alpha1 import Condition, TaskQueueStatus
from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.permissions import ROLES, user_name
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.rabbitmq.policies import own_policy_name
from tests.integration.operator.brokers import opened
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.operating import OneBroker, reconciliations
from tests.integration.operator.task_queues import JSON_JOB, Tenants, made

pytestmark = pytest.mark.slow

AT_ONCE = 40
"""Deletions that are under way together."""


class Killed(BaseException):
    """As SIGKILL: nothing of this operator runs any more, no clean-up either."""


@dataclass
class Life:
    """One operator's. It ends after so many steps, if ever, as by SIGKILL or by SIGTERM."""

    ends_after: int | None = None
    end: type[BaseException] = Killed
    steps: int = 0
    is_over: bool = False

    def check(self) -> None:
        if self.is_over and self.end is Killed:
            raise Killed

    def step(self) -> None:
        """One is done."""
        self.steps += 1
        if self.steps == self.ends_after:
            self.is_over = True
            raise self.end


class Mortal:
    """What an operator calls; every call is a step of its life."""

    def __init__(self, inner: object, life: Life) -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _mortal(found, self._life) if inspect.iscoroutinefunction(found) else found


def _mortal(call: Callable[..., Any], life: Life) -> Callable[..., Any]:
    async def step(*arguments: Any, **named: Any) -> Any:
        life.check()
        result = await call(*arguments, **named)
        life.step()
        return result

    return step


def session_of(session: Session, life: Life) -> Session:
    """A session that has read nothing yet."""

    @asynccontextmanager
    async def scrutiny() -> AsyncIterator[Mortal]:
        life.check()
        async with session.link.scrutiny() as look:
            yield Mortal(look, life)

    link = SimpleNamespace(
        management=Mortal(session.link.management, life),
        depths=Mortal(session.link.depths, life),
        scrutiny=scrutiny,
    )
    return Session(
        spec=session.spec,
        address=session.address,
        features=session.features,
        link=link,  # as much of it as a deletion uses
        clock=time.monotonic,
    )


async def delete(
    session: Session, queue: TaskQueueObject, kubernetes: Kubernetes, *, life: Life
) -> None:
    deletion = Deletion(
        world=World(),
        brokers=OneBroker(session_of(session, life)),
        cluster=Mortal(kubernetes, life),  # passes all else on
        workloads=Mortal(kubernetes.workloads(), life),
        states=reconciliations(),
        clock=time.monotonic,
        sleep=_mortal(asyncio.sleep, life),
    )
    try:
        await deletion.delete(queue)
    except (Killed, asyncio.CancelledError):
        assert life.is_over


@dataclass(frozen=True)
class Case:
    """A TaskQueue that is deleted."""

    policy: str = "RetainIfNotEmpty"
    jobs: int = 0
    dead_letters: int = 0
    adopts: bool = False
    end: type[BaseException] = Killed


CASES = {
    "empty": Case(),
    "empty, by SIGTERM": Case(end=asyncio.CancelledError),
    "with jobs": Case(jobs=2),
    "with dead letters": Case(dead_letters=2),
    "retained": Case(policy="Retain", jobs=1),
    "dropped": Case(policy="Delete", jobs=1, dead_letters=1),
    "given back": Case(jobs=2, adopts=True),
    "given back with dead letters": Case(jobs=1, dead_letters=1, adopts=True),
    "given back, retained": Case(policy="Retain", jobs=1, adopts=True),
    "taken over and dropped": Case(policy="Delete", jobs=1, adopts=True),
}


@dataclass
class Scene:
    """Makes TaskQueues of one case, and sees what is left of each."""

    tenants: Tenants
    case: Case
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def made(self) -> TaskQueueObject:
        number, case = next(self.numbers), self.case
        name = f"celery-{number}"
        taken = {"queue": {"name": name, "type": "Classic"}} if case.adopts else {}
        # A setting that deviates: there is a policy of its own to be removed, too.
        queue = {"maxLength": 9} | taken.get("queue", {})
        task_queue = made(f"t{number}", deletionPolicy=case.policy, queue=queue)
        if case.adopts:
            session = self.tenants.session
            management, vhost = opened(session).management, session.address.vhost
            await management._write("PUT", "queues", vhost, name, body={"durable": True})
        await self.tenants.reconcile(task_queue)
        guaranteed = Condition(
            type="Guaranteed",
            status="False",
            reason="AdoptedQueue",
            message="",
            observed_generation=1,
            last_transition_time="2026-01-01T00:00:00Z",
        )
        status = TaskQueueStatus(conditions=(guaranteed,) if case.adopts else ())
        return dataclasses.replace(task_queue, is_deleting=True, status=status)

    def publish(self, queues: list[TaskQueueObject]) -> None:
        where = self.tenants.session.address
        url = where.amqp_url(username=where.username, password=where.password)
        connection = pika.BlockingConnection(pika.URLParameters(f"{url}?heartbeat=0"))
        channel = connection.channel()
        channel.confirm_delivery()
        for queue in queues:
            key = queue.owner.queue
            for exchange, count in (
                (JOBS_EXCHANGE, self.case.jobs),
                (DEAD_EXCHANGE, self.case.dead_letters),
            ):
                for _ in range(count):
                    channel.basic_publish(exchange, key, b"{}", JSON_JOB, mandatory=True)
        connection.close()

    async def left(self, queue: TaskQueueObject) -> dict[str, object]:
        """What stands in RabbitMQ of a TaskQueue, without its name."""
        session, own = self.tenants.session, queue.owner.queue
        session.doubt()  # a reading from before the last step would not show it
        inventory = await session.inventory(max_age=0.5)
        names = {queue.source: "queue", dead_queue_name(own): "dead letters"}
        depths = await session.link.depths.read(names)
        return {
            "jobs": {
                names[name]: depth.ready
                for name, depth in depths.items()
                if isinstance(depth, Depth)
            },
            "bindings": sorted(
                (each.source, names[each.destination])
                for each in inventory.bindings
                if each.source and each.destination in names
            ),
            "policies": [
                own_policy_name(name) in inventory.policies for name in (own, dead_queue_name(own))
            ],
            "users": [
                role
                for role in ROLES
                if user_name(vhost=session.address.vhost, queue=own, role=role)
                in inventory.password_hashes
            ],
        }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_an_operator_that_is_killed_after_any_step_leaves_a_deletion_as_undisturbed(
    session: Session, case: Case
) -> None:
    scene = Scene(Tenants(session), case)
    undisturbed, life = await scene.made(), Life()
    scene.publish([undisturbed])
    whole = Kubernetes(task_queues={_key(undisturbed): undisturbed})
    await delete(session, undisturbed, whole, life=life)
    wanted = await scene.left(undisturbed)
    assert life.steps > 3
    assert wanted["users"] == []

    queues = [await scene.made() for _ in range(life.steps)]
    scene.publish(queues)
    slots = asyncio.Semaphore(AT_ONCE)

    async def killed(after: int, queue: TaskQueueObject) -> tuple[dict[str, object], Kubernetes]:
        kubernetes = Kubernetes(task_queues={_key(queue): queue})
        async with slots:
            life = Life(ends_after=after, end=case.end)
            await delete(session, queue, kubernetes, life=life)
            assert life.is_over
            await delete(session, queue, kubernetes, life=Life())
            return await scene.left(queue), kubernetes

    found = await asyncio.gather(*(killed(number, queue) for number, queue in enumerate(queues, 1)))

    for after, (left, kubernetes) in enumerate(found, 1):
        assert left == wanted, f"killed after step {after} of {life.steps}"
        assert set(kubernetes.events) == set(whole.events), after
        assert not [each for each in kubernetes.messages if "was not taken over" in each], after


def _key(queue: TaskQueueObject) -> tuple[str, str]:
    return queue.owner.namespace, queue.owner.name
