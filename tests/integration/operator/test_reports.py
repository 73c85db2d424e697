import httpx
import pytest

from longshore.contract.names import ORDERS_EXCHANGE, REPORTS_EXCHANGE
from longshore.contract.orders import Order, OrderKind
from longshore.contract.reports import STALE_AFTER, WorkerReport
from longshore_operator.adapters.fleet import Fleet
from longshore_operator.app.broker import Session
from tests.integration.operator.task_queues import Tenants, made, until


@pytest.fixture
async def tenants(session: Session) -> Tenants:
    await session.link.listen()
    tenants = Tenants(session)
    await tenants.reconcile(made())
    return tenants


def report(tenants: Tenants, body: bytes) -> None:
    with tenants.channel(made(), "worker") as channel:
        channel.confirm_delivery()
        channel.basic_publish(REPORTS_EXCHANGE, "media.transcode", body)


def sent(**parts: object) -> bytes:
    values = {
        "queue": "media.transcode",
        "worker": "p",
        "started_at": 0,
        "slots": 1,
        "busy": 1,
        "held": 2,
    }
    return WorkerReport.model_validate(values | parts).model_dump_json().encode()


async def test_a_report_is_heard_and_garbage_is_not(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet

    async def heard() -> object:
        return fleet.reports("media.transcode")

    report(tenants, b"\xff{")
    report(tenants, sent())
    await until(heard)

    assert fleet.reports("media.transcode")["p"].held == 2


async def test_a_worker_speaks_for_its_own_queue_whatever_it_writes(tenants: Tenants) -> None:
    fleet = tenants.session.link.fleet

    async def heard() -> object:
        return fleet.reports("media.transcode")

    report(tenants, sent(queue="billing.invoice"))
    await until(heard)

    assert fleet.reports("billing.invoice") == {}


async def test_an_old_report_says_nothing_any_more(session: Session) -> None:
    now = 0.0
    fleet = Fleet(clock=lambda: now)
    fleet._take(None, type("Method", (), {"routing_key": "media.transcode"}), None, sent())

    assert set(fleet.reports("media.transcode")) == {"p"}
    now = STALE_AFTER + 1
    assert fleet.reports("media.transcode") == {}


async def test_orders_that_cannot_be_given_any_more_end_the_session(tenants: Tenants) -> None:
    link, where = tenants.session.link, tenants.session.address
    assert not link.is_lost
    auth = (where.username, where.password)
    async with httpx.AsyncClient(base_url=where.management_url, auth=auth) as client:
        gone = await client.delete(f"/api/exchanges/{where.vhost}/{ORDERS_EXCHANGE}")
        gone.raise_for_status()

    link.fleet.order(Order(kind=OrderKind.CORDON, id="one"), queue="media.transcode", worker="p")

    async def lost() -> bool:
        return link.is_lost

    await until(lost)
