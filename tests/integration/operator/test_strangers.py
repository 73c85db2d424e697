"""What others have under Longshore's names is left alone, whatever becomes of the TaskQueue."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.rabbitmq.rosters import JOBS
from longshore_operator.core.rabbitmq.topology import entry_bindings
from tests.integration.operator.brokers import registered
from tests.integration.operator.operating import OneBroker, Operating, reconciliations
from tests.integration.operator.task_queues import JSON_JOB, labelled, made, until

POLICIES = ["Delete", "RetainIfNotEmpty", "Retain"]
OWN, LETTERS = "media.transcode", "media.transcode.dead"
UNREADABLE = {"windows": [{"cron": "0 25 * * *", "duration": "1h", "max": 1}]}


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


async def delete(operating: Operating, task_queue: TaskQueueObject) -> None:
    """As an operator does that has just been started."""
    task_queue = dataclasses.replace(task_queue, is_deleting=True)
    operating.apply(task_queue)
    owner = task_queue.owner
    operating.kubernetes.task_queues[owner.namespace, owner.name] = task_queue
    operating.session.doubt()
    await Deletion(
        world=operating.world,
        brokers=OneBroker(operating.session),
        cluster=operating.kubernetes,
        workloads=operating.workloads,
        states=reconciliations(),
        clock=lambda: 0.0,
    ).delete(task_queue)


def fill(operating: Operating, queue: str) -> None:
    connection = operating.administrator()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"theirs", JSON_JOB)
    connection.close()


async def standing(operating: Operating) -> dict[str, Any]:
    """What stands in the vhost, with the number of messages in each queue that is no one's."""
    found = await operating.session.management.inventory()
    names = [name for name in found.queues if not name.startswith("longshore.")]
    return {
        "queues": found.queues,
        "bindings": found.bindings,
        "policies": found.policies,
        "depths": await operating.session.link.depths.read(names),
    }


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("arguments", [{}, {"queue_type": "quorum", "delivery_limit": 7}], ids=str)
@pytest.mark.parametrize("is_full", [True, False])
async def test_a_strangers_queue_under_the_name_of_the_dead_letters_stays(
    operating: Operating, policy: str, arguments: dict[str, Any], is_full: bool
) -> None:
    operating.declare(LETTERS, **arguments)
    if is_full:
        fill(operating, LETTERS)
    before = await standing(operating)
    refused = made(deletionPolicy=policy)
    assert (await operating.refused(refused)).reason == "QueueDiffers"

    await delete(operating, refused)

    assert await standing(operating) == before
    said = f"queue {LETTERS} was made by somebody else and stays"
    assert operating.kubernetes.messages == ([said] if policy != "Retain" else [])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("is_full", [True, False])
async def test_a_strangers_queue_stays_that_looks_like_one_of_ours_but_was_never_declared(
    operating: Operating, policy: str, is_full: bool
) -> None:
    """Its namespace was never allowed."""
    allowed = {"matchLabels": {"team": "x"}}
    operating.session.spec = registered(allowedNamespaces=allowed).spec
    operating.world.namespaces = labelled(media={})
    for name in (OWN, LETTERS):
        operating.declare(name, queue_type="quorum")
    if is_full:
        fill(operating, OWN)
    before = await standing(operating)
    refused = made(deletionPolicy=policy)
    assert (await operating.refused(refused)).reason == "NamespaceNotAllowed"

    await delete(operating, refused)

    assert await standing(operating) == before
    assert f"queue {OWN} was not declared for this TaskQueue and stays" in (
        operating.kubernetes.messages
    )


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_strangers_queue_stays_where_the_spec_could_never_be_read(
    operating: Operating, policy: str
) -> None:
    operating.declare(OWN, queue_type="quorum")
    before = await standing(operating)

    await delete(operating, made(deletionPolicy=policy, scaling=UNREADABLE))

    assert await standing(operating) == before


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("spec", [{}, {"queue": {"maxLength": 5}}], ids=["needs none", "needs it"])
async def test_a_strangers_policy_under_the_name_of_one_of_ours_stays(
    operating: Operating, policy: str, spec: dict[str, Any]
) -> None:
    names = [f"longshore.own.{name}" for name in (OWN, LETTERS)]
    theirs = {"pattern": "^theirs", "priority": 1, "apply-to": "queues"}
    vhost = operating.session.address.vhost
    for name in names:
        await operating.put("policies", vhost, name, **theirs, definition={"max-length": 7})
    task_queue = made(deletionPolicy=policy, **spec)
    operating.apply(task_queue)
    await operating.settled(task_queue)

    await delete(operating, task_queue)

    policies = await operating.session.management.policies()
    assert [policies[name].pattern for name in names] == ["^theirs", "^theirs"]


async def test_a_strangers_policy_stays_that_gets_a_rosters_name_while_the_operator_runs(
    operating: Operating,
) -> None:
    await operating.ready(made())
    vhost, name = operating.session.address.vhost, f"{JOBS}.2"
    theirs = {"pattern": "^theirs", "priority": 1, "apply-to": "queues"}
    await operating.put("policies", vhost, name, **theirs, definition={"max-length": 7})

    other = made("other")
    await operating.ready(other)
    inventory = await operating.session.management.inventory()
    await operating.session.rosters.tend(
        inventory, claimed=operating.world.listed(broker="default")
    )
    await delete(operating, other)

    policies = await operating.session.management.policies()
    assert policies[name].pattern == "^theirs"


async def test_a_roster_whose_pattern_was_changed_by_hand_is_put_right(
    operating: Operating,
) -> None:
    await operating.ready(made())
    before = await operating.session.management.policies()
    vhost = operating.session.address.vhost
    changed = {"pattern": "^changed$", "priority": 1, "apply-to": "queues"}
    await operating.put("policies", vhost, JOBS, **changed, definition={"max-length": 7})

    async def is_back() -> bool:
        return await operating.session.management.policies() == before

    await until(is_back, within=30)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_queue_stays_its_holders_when_the_holders_spec_cannot_be_read_any_more(
    operating: Operating, policy: str
) -> None:
    operating.declare("celery")
    taken: dict[str, Any] = {"queue": {"name": "celery", "type": "Classic"}}
    await operating.ready(made("first", namespace="a", **taken))
    fill(operating, "celery")
    broken = made("first", namespace="a", generation=2, scaling=UNREADABLE, **taken)
    assert broken.spec is None
    operating.apply(broken)
    before = await standing(operating)
    second = made(
        "second", namespace="b", created="2026-01-02T00:00:00Z", deletionPolicy=policy, **taken
    )

    assert (await operating.refused(second)).reason == "QueueTaken"
    await delete(operating, second)

    assert await standing(operating) == before
    assert operating.kubernetes.messages == ["queue celery belongs to TaskQueue a/first"]


@pytest.mark.parametrize("policy", ["Delete", "RetainIfNotEmpty"])
@pytest.mark.parametrize("spec", [{}, {"scaling": UNREADABLE}], ids=["readable", "unreadable"])
async def test_a_queue_that_another_has_taken_over_does_not_go_with_who_bears_its_name(
    operating: Operating, policy: str, spec: dict[str, Any]
) -> None:
    operating.declare(OWN, queue_type="quorum")
    await operating.ready(made("new", queue={"name": OWN}))
    before = await standing(operating)

    await delete(operating, made(created="2026-01-02T00:00:00Z", deletionPolicy=policy, **spec))

    assert await standing(operating) == before


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_queue_stays_that_gets_the_jobs_of_a_task_queue_that_nobody_here_knows(
    operating: Operating, policy: str
) -> None:
    """Its TaskQueue is another Broker's, or another cluster's."""
    operating.declare("celery")
    taken: dict[str, Any] = {"queue": {"name": "celery", "type": "Classic"}}
    first = made("first", namespace="a", **taken)
    await operating.ready(first)
    operating.queues.pop(("a", "first"))
    before = await standing(operating)
    second = made("second", namespace="b", deletionPolicy=policy, **taken)

    found = await operating.refused(second)
    await delete(operating, second)

    assert found.reason == "QueueTaken"
    assert "a.first" in found.message
    assert await standing(operating) == before


@pytest.mark.parametrize("policy", ["Delete", "RetainIfNotEmpty"])
@pytest.mark.parametrize("state", ["open", "closed", "unreadable", "not allowed", "remade"])
async def test_what_was_declared_is_cleaned_up_whatever_has_become_of_its_task_queue(
    operating: Operating, policy: str, state: str
) -> None:
    before = await standing(operating)
    await operating.ready(made(queue={"maxLength": 9}, deadLetter={"maxLength": 9}))
    task_queue = made(deletionPolicy=policy)
    if state == "closed":  # an operator that ended in the middle of a deletion had closed it
        task_queue = dataclasses.replace(task_queue, is_deleting=True)
        operating.apply(task_queue)
        for binding in entry_bindings(OWN):
            await operating.session.management.unbind(binding)
    if state == "unreadable":
        task_queue = made(deletionPolicy=policy, scaling=UNREADABLE)
    if state == "not allowed":
        allowed = {"matchLabels": {"team": "x"}}
        operating.session.spec = registered(allowedNamespaces=allowed).spec
        operating.world.namespaces = labelled(media={})
    if state == "remade":  # by hand, without the finalizer: the new one has never been reconciled
        task_queue = made(deletionPolicy=policy, uid="another")

    await delete(operating, task_queue)

    assert await standing(operating) == before


async def test_a_queue_that_was_left_behind_can_be_taken_over_and_deleted(
    operating: Operating,
) -> None:
    await operating.ready(made(deletionPolicy="Retain"))
    await delete(operating, made(deletionPolicy="Retain"))
    operating.queues.clear()
    new = made("new", queue={"name": OWN}, deletionPolicy="Delete")

    await operating.ready(new)
    await delete(operating, new)

    assert not await operating.session.management.has_queue(OWN)
