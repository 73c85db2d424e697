"""Publishes what follows from a delivery: unchanged if possible, else as much as can be sent."""

import functools
from collections.abc import Callable
from typing import Protocol

from longshore.amqp.errors import Unsendable, words
from longshore.amqp.publication import Publication
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.parent.jobs.outcome import Judge, Verdict


class Publisher(Protocol):
    """Publishes messages until they are confirmed."""

    async def publish(self, publication: Publication, *, wanted: Callable[[], bool]) -> bool:
        """Return True once the message is confirmed. Raises Unsendable."""


async def publish(
    verdict: Verdict, delivery: Delivery, *, publisher: Publisher, judge: Judge
) -> Verdict:
    """Publish what `verdict` on `delivery` requires; return the final verdict.

    A message that AMQP cannot carry, or that makes the broker close the channel, becomes a dead
    letter with what can be sent: the body, and as much of the rest as bytes. The smallest one
    always fits.
    """

    def wanted() -> bool:
        return delivery.void is None

    def reduced(error: str) -> Verdict:
        return judge.unsendable(delivery.original, delivery.body, error=error)

    def bare(error: str) -> Verdict:
        return judge.bare(delivery.header, delivery.body, error=error)

    for reduce in (reduced, bare):
        if verdict.publication is None:
            return verdict
        try:
            await publisher.publish(verdict.publication, wanted=wanted)
        except Exception as error:
            said = str(error) if isinstance(error, Unsendable) else words(error)
            said = f"{said}; {verdict.error}" if verdict.error else said
            verdict = decided(functools.partial(reduce, said), delivery, judge=judge)
        else:
            return verdict
    if verdict.publication:
        await publisher.publish(verdict.publication, wanted=wanted)
    return verdict


def decided(decide: Callable[[], Verdict], delivery: Delivery, *, judge: Judge) -> Verdict:
    """Return the result of `decide`, or the bare dead letter if it fails on `delivery`."""
    try:
        return decide()
    except Exception as error:
        return judge.bare(delivery.header, delivery.body, error=words(error))
