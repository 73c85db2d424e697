"""Orders go to the channel that reported last, and nowhere else, whatever a report says."""

import base64

import pytest

from longshore.amqp.publication import Properties
from longshore.contract.names import LOST, REPLY_TO, dead_queue_name
from longshore.contract.orders import CordonOrder
from longshore_operator.adapters.rabbitmq.link import connect
from longshore_operator.app.ports.rabbitmq import Fleet
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.depth import Depth
from tests.integration.operator.brokers import opened
from tests.integration.operator.lines import POD, Line, report_of
from tests.integration.operator.task_queues import Tenants, made, until

OURS = made("transcode", namespace="media")
THEIRS = made("invoice", namespace="billing")
QUEUE = OURS.owner.queue
VICTIM = THEIRS.owner.queue
ORDER = CordonOrder(id="one")
WITHIN = 10.0


@pytest.fixture
async def tenants(session: Session) -> Tenants:
    await session.link.listen()
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    await tenants.reconcile(THEIRS)
    return tenants


async def heard(fleet: Fleet, queue: str, *, held: int = 2) -> None:
    async def look() -> bool:
        reports = fleet.reports(queue)
        return POD in reports and reports[POD].held == held

    await until(look)


async def test_an_order_reaches_the_worker_that_is_meant_and_no_other(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet
    with (
        Line(tenants, OURS) as ours,
        Line(tenants, OURS) as sibling,
        Line(tenants, THEIRS) as other,
    ):
        ours.report(report_of())
        sibling.report(report_of("sibling"))
        other.report(report_of())
        await heard(fleet, QUEUE)
        await heard(fleet, VICTIM)

        fleet.order(ORDER, queue=QUEUE, worker="nobody")
        fleet.order(ORDER, queue=QUEUE, worker=POD)

        assert await ours.orders(within=WITHIN) == [ORDER]
        assert await sibling.orders() == []
        assert await other.orders() == []


async def test_a_worker_that_connects_again_is_answered_there(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet
    with Line(tenants, OURS) as old, Line(tenants, OURS) as new:
        old.report(report_of(held=1))
        await heard(fleet, QUEUE, held=1)
        new.report(report_of())
        await heard(fleet, QUEUE)

        fleet.order(ORDER, queue=QUEUE, worker=POD)

        assert await new.orders(within=WITHIN) == [ORDER]
        assert await old.orders() == []


async def test_a_new_session_answers_after_the_next_report(tenants: Tenants) -> None:
    link = await connect(tenants.session.address, heartbeat=30.0)
    try:
        await link.listen()
        with Line(tenants, OURS) as worker:
            link.fleet.order(ORDER, queue=QUEUE, worker=POD)
            worker.report(report_of())
            await heard(link.fleet, QUEUE)

            link.fleet.order(ORDER, queue=QUEUE, worker=POD)

            assert await worker.orders(within=WITHIN) == [ORDER]
    finally:
        await link.close()


def address(process: bytes) -> str:
    key = base64.b64encode(bytes(16)).decode()
    return f"{REPLY_TO}.{base64.b64encode(process).decode()}.{key}"


def process(node: bytes = b"reply@1", *, number: int = 7) -> bytes:
    numbers = number.to_bytes(4, "big") + bytes(8)
    return b"\x83Xv" + len(node).to_bytes(2, "big") + node + numbers


FORGED = {
    "no address": None,
    "another's queue": VICTIM,
    "another's dead letters": dead_queue_name(VICTIM),
    "one's own queue": QUEUE,
    "a shared queue": LOST,
    "nothing": "",
    "the prefix alone": f"{REPLY_TO}.",
    "another's queue behind the prefix": f"{REPLY_TO}.{VICTIM}",
    "no term": f"{REPLY_TO}.x.y",
    "bytes that are no term": address(b"abc"),
    "a term that is no process": address(b"\x83a\x01"),
    "a process whose name is shorter": address(process().replace(b"\x00\x07", b"\x00\xff")),
}


@pytest.mark.parametrize("reply_to", FORGED.values(), ids=FORGED)
async def test_a_forged_address_is_not_answered(tenants: Tenants, reply_to: str | None) -> None:
    fleet = tenants.session.link.fleet
    with Line(tenants, OURS) as forger:
        forger.report(report_of(), reply_to=reply_to)
        forger.report(report_of("last"))

        async def passed() -> bool:
            return "last" in fleet.reports(QUEUE)

        await until(passed)
        assert POD not in fleet.reports(QUEUE)
        fleet.order(ORDER, queue=QUEUE, worker=POD)

    await others_are_served_and_nothing_has_come(tenants)


NOBODYS = {
    "a node that is not there": address(process()),
    "a process of any number": address(process(number=2**32 - 1)),
}


@pytest.mark.parametrize("reply_to", NOBODYS.values(), ids=NOBODYS)
async def test_an_address_of_nobodys_harms_nobody(tenants: Tenants, reply_to: str) -> None:
    fleet = tenants.session.link.fleet
    with Line(tenants, OURS) as forger:
        forger.report(report_of(), reply_to=reply_to)
        await heard(fleet, QUEUE)
        fleet.order(ORDER, queue=QUEUE, worker=POD)

    await others_are_served_and_nothing_has_come(tenants)


async def others_are_served_and_nothing_has_come(tenants: Tenants) -> None:
    """What the operator publishes after an order shows that it, too, has been dealt with."""
    link = tenants.session.link
    with Line(tenants, THEIRS) as other:
        other.report(report_of())
        await heard(link.fleet, VICTIM)
        link.fleet.order(ORDER, queue=VICTIM, worker=POD)
        assert await other.orders(within=WITHIN) == [ORDER]
    assert not link.is_lost
    queues = (VICTIM, dead_queue_name(VICTIM), QUEUE, dead_queue_name(QUEUE), LOST)
    empty = Depth(ready=0, consumers=0)
    assert await link.depths.read(queues) == dict.fromkeys(queues, empty)


async def test_orders_that_cannot_be_given_any_more_end_the_session(tenants: Tenants) -> None:
    link = opened(tenants.session)
    assert not link.is_lost

    link.fleet._orders.publish("no-such-exchange", "", b"", Properties())

    async def lost() -> bool:
        return link.is_lost

    await until(lost)
    link.fleet.order(ORDER, queue=QUEUE, worker=POD)
