import struct
from types import SimpleNamespace

import pika
import pytest

from longshore.contract.names import REPLY_TO
from longshore.contract.reports import STALE_AFTER
from longshore_operator.adapters.rabbitmq.fleet import Fleet
from longshore_operator.app.sessions.session import Session
from tests.integration.operator.lines import Line, report_of
from tests.integration.operator.task_queues import Tenants, made, until

QUEUE = "media.transcode"


@pytest.fixture
async def tenants(session: Session) -> Tenants:
    await session.link.listen()
    tenants = Tenants(session)
    await tenants.reconcile(made())
    return tenants


async def test_a_report_is_heard_and_garbage_is_not(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet

    async def heard() -> object:
        return fleet.reports(QUEUE)

    with Line(tenants, made()) as worker:
        worker.report(b"\xff{")
        worker.report(report_of("p"))
        await until(heard)

    assert fleet.reports(QUEUE)["p"].held == 2


async def test_a_worker_speaks_for_its_own_queue_whatever_it_writes(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet

    async def heard() -> object:
        return fleet.reports(QUEUE)

    with Line(tenants, made()) as worker:
        worker.report(report_of(queue="billing.invoice"))
        await until(heard)

    assert fleet.reports("billing.invoice") == {}


class FarFuture(pika.BasicProperties):  # type: ignore[misc]  # pika ships no types
    """Properties with a header that is a date Python has no value for, which pika cannot write."""

    _PLACEHOLDER = 2**62 + 54321

    def __init__(self, **properties: object) -> None:
        super().__init__(headers={"when": self._PLACEHOLDER}, **properties)

    def encode(self) -> list[bytes]:
        date = b"T" + struct.pack(">Q", 2**63 - 1)
        encoded = b"".join(super().encode())
        return [encoded.replace(b"l" + struct.pack(">q", self._PLACEHOLDER), date)]


async def test_no_header_of_a_report_costs_the_connection(tenants: Tenants) -> None:
    link = tenants.session.link

    async def heard() -> bool:
        return "last" in link.fleet.reports(QUEUE)

    with Line(tenants, made()) as worker:
        worker.publish(report_of("p"), FarFuture(reply_to=REPLY_TO))
        worker.report(report_of("last"))
        await until(heard)

    assert set(link.fleet.reports(QUEUE)) == {"p", "last"}
    assert not link.is_lost


def test_an_old_report_says_nothing_any_more() -> None:
    now = 0.0
    fleet = Fleet(clock=lambda: now)
    method = SimpleNamespace(routing_key=QUEUE)
    properties = SimpleNamespace(
        reply_to="amq.rabbitmq.reply-to.g1h2AA5yZXBseUA2NzkzODE2NAAAw3kAAAAAawHV6w=="
        ".b4Ff5VFaIyo6lexV5Dn2+g=="
    )
    fleet._take(None, method, properties, report_of("p"))

    assert set(fleet.reports(QUEUE)) == {"p"}
    now = STALE_AFTER + 1
    assert fleet.reports(QUEUE) == {}
