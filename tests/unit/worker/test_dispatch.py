"""Deliveries that nobody foresaw, and a broker that is away."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from longshore.amqp.publication import Publication
from longshore.contract.message import UNDECODABLE_HEADERS, DeadReason, decode
from longshore.contract.retry import RetryPolicy
from longshore.worker.limits import HandlerLimits
from longshore.worker.parent import dispatch as module
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.parent.dispatch import Dispatch
from longshore.worker.parent.jobs.losses import Losses
from longshore.worker.parent.jobs.observer import JobObserver
from longshore.worker.parent.jobs.outcome import SUCCEEDED, Judge, Outcome, Verdict
from longshore.worker.parent.jobs.placements import Placements
from longshore.worker.wire.frames import Ended, Status


class Away:
    """A publisher without broker."""

    def __init__(self) -> None:
        self.asked: list[Publication] = []

    async def publish(self, publication: Publication, **_: Any) -> bool:
        self.asked.append(publication)
        await asyncio.Event().wait()
        return True


class Listener(JobObserver):
    def __init__(self, told: list[Verdict]) -> None:
        self._told = told
        self.results: list[str | None] = []

    def settled(self, verdict: Verdict, _work: Any, ended: Ended | None, *_: Any) -> None:
        self._told.append(verdict)
        self.results.append(ended and ended.result)


class Stage:
    def __init__(self) -> None:
        self.publisher = Away()
        self.told: list[Verdict] = []
        self.listener = Listener(self.told)
        self.pool = SimpleNamespace(take_back=list, hand=lambda _: False, placements=Placements())
        parts: Any = {
            "pool": lambda _: self.pool,
            "publisher": self.publisher,
            "observers": [
                self.listener,
            ],
        }
        self.dispatch = Dispatch(
            judge=Judge(
                queue="q",
                host="h",
                retry=RetryPolicy(),
                handlers={},
                others=HandlerLimits(max_attempts=5, hard_limit=1.0),
                serves_any=True,
                now=lambda: 0,
                chance=lambda: 0.5,
            ),
            losses=Losses(allowance=0, clock=lambda: 0.0),
            new_id=lambda: "id",
            on_change=(),
            **parts,
        )


def delivery(**properties: Any) -> Delivery:
    subscription: Any = SimpleNamespace(nack_is_free=False)
    given = pika.BasicProperties(type="write", content_type="application/json", **properties)
    return Delivery(subscription, 1, b"", b"{}", properties=given)


async def test_what_the_decoder_trips_over_is_undecodable_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    handed: list[Any] = []

    def hand(work: Any) -> bool:
        handed.append(work)
        return True

    monkeypatch.setattr(stage.pool, "hand", hand)

    def trip(properties: Any, body: bytes, **options: Any) -> Any:
        if properties.headers:
            raise TypeError("startswith")
        return decode(properties, body, **options)

    monkeypatch.setattr(module, "decode", trip)
    fine = delivery(message_id="fine")
    stage.dispatch.on_deliveries([delivery(headers={b"\xff": 1}), fine])
    await asyncio.sleep(0)
    (publication,) = stage.publisher.asked
    headers = publication.properties["headers"]
    assert headers["longshore-dead-reason"] == DeadReason.UNDECODABLE
    assert headers[b"\xff"] == 1
    assert [work.message.id for work in handed] == ["fine"]


async def test_a_job_that_no_frame_can_carry_is_undecodable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()

    def hand(_: Any) -> bool:
        raise TypeError("keys must be str")

    monkeypatch.setattr(stage.pool, "hand", hand)
    stage.dispatch.on_deliveries([delivery()])
    await asyncio.sleep(0)
    assert len(stage.publisher.asked) == 1
    assert stage.dispatch.held == 1


async def test_observers_see_what_the_handler_returned() -> None:
    stage = Stage()
    acked: list[Delivery] = []
    one = delivery()
    subscription: Any = SimpleNamespace(ack=lambda done, **_: acked.append(done))
    one.subscription = subscription
    (work,) = filter(None, [stage.dispatch._work(one)])
    stage.dispatch.on_ended(work, Ended(work.ticket, Status.SUCCEEDED, 0.1, result="42"))
    assert acked == [one]
    assert stage.told == [SUCCEEDED]
    assert stage.listener.results == ["42"]


async def test_a_drain_does_not_wait_for_what_the_broker_has_taken_back() -> None:
    stage = Stage()
    lost = delivery(headers={"longshore-attempt": "many"})
    stage.dispatch.on_deliveries([lost])
    await asyncio.sleep(0)
    assert stage.publisher.asked
    lost.void = "connection lost"
    stage.dispatch.on_void([lost])
    stage.dispatch.start_draining(requeue=False)
    await asyncio.wait_for(stage.dispatch.quiet(), 0.1)
    await asyncio.sleep(0)
    assert stage.dispatch.held == 0
    assert [verdict.outcome for verdict in stage.told] == [Outcome.VOID]


async def test_an_outcome_that_cannot_be_sent_becomes_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    asked: list[Publication] = []

    async def publish(publication: Publication, **_: Any) -> bool:
        asked.append(publication)
        if "theirs" in publication.properties["headers"]:
            raise struct.error("int too large to convert")
        return True

    acked = asyncio.Event()
    monkeypatch.setattr(stage.publisher, "publish", publish)
    theirs = delivery(headers={"longshore-attempt": "many", "theirs": 10**30}, message_id="m-1")
    subscription: Any = SimpleNamespace(ack=lambda _: acked.set())
    theirs.subscription = subscription
    stage.dispatch.on_deliveries([theirs])
    await asyncio.wait_for(acked.wait(), 1)
    _, sent = asked
    assert sent.properties["message_id"] == "m-1"
    assert sent.properties["headers"]["longshore-dead-reason"] == DeadReason.UNDECODABLE
    assert "int too large" in sent.properties["headers"]["longshore-error"]
    assert b"theirs" in sent.properties["headers"][UNDECODABLE_HEADERS]


async def test_what_arrives_while_the_consumer_still_stands_is_returned_when_it_is_gone() -> None:
    stage = Stage()
    stage.dispatch.stop_handing_out()
    stage.dispatch.on_deliveries([delivery()])
    await asyncio.sleep(0)
    assert stage.publisher.asked == []
    stage.dispatch.start_draining(requeue=False)
    stage.dispatch.on_deliveries([delivery()])
    await asyncio.sleep(0)
    assert len(stage.publisher.asked) == 2
