"""What a TaskQueue leaves behind is told from what others have under the same names."""

from typing import Any

import pytest

from longshore_operator.core.rabbitmq.estate import Estate, estate_of
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.rosters import DEAD, JOBS, ROSTERS
from longshore_operator.core.rabbitmq.topology import QueueDefinition, dead_binding, entry_bindings

OWN, LETTERS = "media.x", "media.x.dead"
QUEUES = {name: QueueDefinition(name=name) for name in (OWN, LETTERS)}


def policy(name: str, pattern: str) -> QueuePolicy:
    return QueuePolicy(name=name, pattern=pattern, priority=1, definition={"max-length": 7})


def roster(name: str) -> dict[str, QueuePolicy]:
    return {each.name: each for each in ROSTERS[name].changed({}, add={OWN}).policies}


def ours(estate: Estate) -> tuple[bool, bool]:
    return estate.jobs.is_ours, estate.dead.is_ours


EVIDENCE: dict[str, dict[str, Any]] = {
    "jobs enter": {"bindings": {entry_bindings(OWN)[0]}},
    "delayed jobs enter": {"bindings": {entry_bindings(OWN)[1]}},
    "listed": {"policies": roster(JOBS)},
    "policy": {"policies": {f"longshore.own.{OWN}": policy(f"longshore.own.{OWN}", r"^media\.x$")}},
}
EVIDENCE_OF_DEAD: dict[str, dict[str, Any]] = {
    "bound": {"bindings": {dead_binding(OWN)}},
    "listed": {"policies": roster(DEAD)},
    "policy": {
        "policies": {
            f"longshore.own.{LETTERS}": policy(f"longshore.own.{LETTERS}", r"^media\.x\.dead$")
        }
    },
}


@pytest.mark.parametrize("evidence", EVIDENCE.values(), ids=EVIDENCE)
def test_any_trace_of_a_declaration_proves_whose_the_job_queue_is(
    evidence: dict[str, Any],
) -> None:
    assert ours(estate_of(OWN, inventory=Inventory(queues=QUEUES, **evidence))) == (True, False)


@pytest.mark.parametrize("evidence", EVIDENCE_OF_DEAD.values(), ids=EVIDENCE_OF_DEAD)
def test_any_trace_of_a_declaration_proves_whose_the_dead_letters_are(
    evidence: dict[str, Any],
) -> None:
    assert ours(estate_of(OWN, inventory=Inventory(queues=QUEUES, **evidence))) == (False, True)


def test_a_status_that_says_that_it_was_declared_is_proof_too() -> None:
    found = estate_of(OWN, inventory=Inventory(queues=QUEUES), was_declared=True)

    assert ours(found) == (True, True)


def test_a_name_alone_proves_nothing() -> None:
    found = estate_of(OWN, inventory=Inventory(queues=QUEUES))

    assert ours(found) == (False, False)
    assert (OWN in found.jobs.why_not, LETTERS in found.dead.why_not) == (True, True)
    assert estate_of(OWN, inventory=Inventory()).jobs.why_not == "", "there is nothing to tell of"


@pytest.mark.parametrize(("name", "kept"), [(OWN, (False, True)), (LETTERS, (True, False))])
def test_a_queue_with_other_arguments_is_somebody_elses_whatever_else_is_there(
    name: str, kept: tuple[bool, bool]
) -> None:
    theirs = QueueDefinition(name=name, arguments={"x-queue-type": "classic"})

    found = estate_of(OWN, inventory=Inventory(queues=QUEUES | {name: theirs}), was_declared=True)

    assert ours(found) == kept


def test_a_policy_for_other_queues_is_not_part_of_it() -> None:
    name = f"longshore.own.{OWN}"
    theirs = Inventory(queues=QUEUES, policies={name: policy(name, "^theirs")})

    found = estate_of(OWN, inventory=theirs)

    assert found.policies == ()
    assert ours(found) == (False, False)


def test_what_another_task_queue_has_is_not_part_of_it() -> None:
    inventory = Inventory(queues=QUEUES, bindings={*entry_bindings(OWN), dead_binding(OWN)})

    found = estate_of(OWN, inventory=inventory, others={OWN: "it is media/new's"})

    assert ours(found) == (False, True)
    assert found.jobs.why_not == "it is media/new's"


def test_only_its_bindings_prove_that_a_queue_was_taken_over() -> None:
    queues = {"celery": QueueDefinition(name="celery", arguments={"x-queue-type": "classic"})}
    wish = estate_of(OWN, inventory=Inventory(queues=queues), adopted="celery")
    bound = Inventory(queues=queues, bindings=set(entry_bindings(OWN, source="celery")))
    given = estate_of(OWN, inventory=bound, adopted="celery")

    assert (wish.jobs.is_ours, wish.has_taken_over) == (False, False)
    assert (given.jobs.is_ours, given.has_taken_over) == (True, True)
    released = estate_of(
        OWN, inventory=Inventory(queues=queues), adopted="celery", was_declared=True
    )
    assert (released.jobs.is_ours, released.has_taken_over) == (False, True)
