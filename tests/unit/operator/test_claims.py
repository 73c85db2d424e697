"""A TaskQueue that may not use a queue does not block one that may."""

from typing import Any

import pytest

from longshore.contract.delays import shared_queues
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.reconciling.claims import refuse_taken, refuse_unallowed, rival
from longshore_operator.app.watched.objects import NamespaceObject, TaskQueueObject, task_queue
from longshore_operator.app.watched.world import World
from longshore_operator.core.rabbitmq.inventory import Inventory, QueueState
from longshore_operator.core.rabbitmq.topology import entry_bindings
from longshore_operator.errors import Invalid

BROKER = {"secretRef": {"name": "rabbit", "namespace": "mq"}}
CLASSIC = QueueState(
    type="classic", is_durable=True, is_auto_deleted=False, arguments={}, policy=None
)


def made(namespace: str, name: str, /, *, day: int, **queue: Any) -> TaskQueueObject:
    return task_queue(
        {
            "metadata": {
                "namespace": namespace,
                "name": name,
                "uid": f"uid-{namespace}-{name}",
                "creationTimestamp": f"2026-01-{day:02}T00:00:00Z",
            },
            "spec": {
                "timeLimit": {"hard": "60s"},
                "worker": {"image": "jobs:1", "handlers": ["jobs"]},
                "queue": queue,
            },
        }
    )


def world(*task_queues: TaskQueueObject, **labels: dict[str, str]) -> World:
    return World(
        is_complete=True,
        queues={(each.owner.namespace, each.owner.name): [each] for each in task_queues},
        namespaces={name: [NamespaceObject(labels=each)] for name, each in labels.items()},
    )


def rival_of(
    mine: TaskQueueObject,
    other: TaskQueueObject,
    *,
    inventory: Inventory | None = None,
    broker: dict[str, Any] | None = None,
    **labels: dict[str, str],
) -> TaskQueueObject | None:
    return rival(
        mine,
        broker=BrokerSpec.model_validate(BROKER | (broker or {})),
        world=world(mine, other, **labels),
        inventory=inventory or Inventory(states={"celery": CLASSIC}),
    )


@pytest.mark.parametrize("name", ["b.jobs", "b.jobs.dead"])
def test_a_name_of_another_namespace_is_no_claim(name: str) -> None:
    mine, squatter = made("b", "jobs", day=2), made("a", "squat", day=1, name=name)

    assert rival_of(mine, squatter) is None


def test_a_namespace_that_the_broker_does_not_serve_has_no_claim() -> None:
    served = {"allowedNamespaces": {"matchLabels": {"team": "b"}}}
    mine = made("b", "jobs", day=2, name="celery", type="Classic")
    squatter = made("a", "squat", day=1, name="celery", type="Classic")

    assert rival_of(mine, squatter, broker=served, a={}, b={"team": "b"}) is None
    assert rival_of(mine, squatter, broker=served, a={"team": "b"}, b={"team": "b"}) is squatter


def test_who_could_not_take_the_queue_over_has_no_claim_to_it() -> None:
    mine = made("b", "jobs", day=2, name="celery", type="Classic")
    misled = made("a", "squat", day=1, name="celery", type="Quorum")

    assert rival_of(mine, misled) is None


def test_a_spec_that_cannot_be_read_is_no_claim() -> None:
    broken = made("b", "old", day=1, name="celery", type="Classic", maxLength=-1)
    mine = made("b", "jobs", day=2, name="celery", type="Classic")

    assert broken.spec is None
    assert rival_of(mine, broken) is None


def test_who_has_a_queue_keeps_it_when_its_spec_cannot_be_read_any_more() -> None:
    holder = made("a", "first", day=1, name="celery", type="Classic", maxLength=-1)
    mine = made("b", "second", day=2, name="celery", type="Classic")
    held = Inventory(
        states={"celery": CLASSIC}, bindings=set(entry_bindings("a.first", source="celery"))
    )

    assert holder.spec is None
    assert rival_of(mine, holder, inventory=held) is holder


def test_a_queue_of_ones_own_that_another_has_taken_over_is_its_also_for_an_unreadable_spec() -> (
    None
):
    holder = made("media", "new", day=1, name="media.x")
    mine = made("media", "x", day=2, maxLength=-1)
    held = Inventory(bindings=set(entry_bindings("media.new", source="media.x")))

    assert mine.spec is None
    assert rival_of(mine, holder, inventory=held) is holder


def taken(mine: TaskQueueObject, *present: TaskQueueObject, key: str, source: str) -> str | None:
    """Why `mine` may not have its queue `source`, which gets the jobs of `key`."""
    held = Inventory(states={source: CLASSIC}, bindings={entry_bindings(key, source=source)[1]})
    try:
        refuse_taken(
            mine,
            broker=BrokerSpec.model_validate(BROKER),
            world=world(mine, *present),
            inventory=held,
        )
    except Invalid as error:
        return f"{error.reason}: {error}"
    return None


def test_a_queue_that_gets_the_jobs_of_a_task_queue_nobody_knows_is_taken() -> None:
    """It may be of another Broker, or of another cluster."""
    mine = made("b", "second", day=2, name="celery", type="Classic")

    why = taken(mine, key="a.first", source="celery")

    assert why is not None
    assert why.startswith("QueueTaken: ")
    assert "a.first" in why
    assert taken(mine, key="b.second", source="celery") is None


def test_a_queue_that_a_task_queue_left_behind_may_be_taken_over() -> None:
    mine = made("media", "new", day=2, name="media.old")

    assert taken(mine, key="media.old", source="media.old") is None
    there = made("media", "old", day=3)
    assert taken(mine, there, key="media.old", source="media.old") is not None


def test_of_two_that_may_have_a_queue_the_older_gets_it() -> None:
    older = made("a", "first", day=1, name="celery", type="Classic")
    younger = made("b", "second", day=2, name="celery", type="Classic")

    assert rival_of(younger, older) is older
    assert rival_of(older, younger) is None


def test_who_has_a_queue_keeps_it_when_an_older_one_may_have_it_too() -> None:
    """The older one was refused before, say for its namespace's labels."""
    older = made("a", "first", day=1, name="celery", type="Classic")
    younger = made("b", "second", day=2, name="celery", type="Classic")
    held = Inventory(
        states={"celery": CLASSIC}, bindings=set(entry_bindings("b.second", source="celery"))
    )

    assert rival_of(older, younger, inventory=held) is younger
    assert rival_of(younger, older, inventory=held) is None


@pytest.mark.parametrize(("namespace", "name"), [("longshore", "lost"), ("amq", "work")])
def test_a_name_that_is_shared_or_rabbitmqs_own_is_refused(namespace: str, name: str) -> None:
    mine = made(namespace, name, day=1)

    with pytest.raises(Invalid, match=rf"{namespace}\.{name}|amq") as refused:
        refuse_unallowed(mine, broker=BrokerSpec.model_validate(BROKER), world=world(mine))

    assert refused.value.reason == "NameReserved"


def test_no_other_shared_queue_can_be_a_task_queues() -> None:
    """They have two dots, as only dead-letter queues of TaskQueues have."""
    others = shared_queues() - {"longshore.lost"}

    assert all(name.count(".") == 2 and not name.endswith(".dead") for name in others)
