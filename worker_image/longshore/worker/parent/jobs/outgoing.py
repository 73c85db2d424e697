"""What follows from a delivery, on its way out: as it is, or as much of it as can be sent."""

import functools
from collections.abc import Callable
from typing import Protocol

from longshore.amqp.errors import Unsendable, words
from longshore.amqp.publication import Publication
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.parent.jobs.outcome import Judge, Verdict


class Publisher(Protocol):
    """Who publishes."""

    async def publish(self, publication: Publication, *, wanted: Callable[[], bool]) -> bool:
        """Return True when it was confirmed. Raises Unsendable."""


async def publish(
    verdict: Verdict, delivery: Delivery, *, publisher: Publisher, judge: Judge
) -> Verdict:
    """Publish what `verdict` on `delivery` wants; the verdict that holds in the end.

    What AMQP cannot carry, or the broker closes the channel over, becomes a dead letter of what can
    be sent: the body, and as much of the rest as bytes. The smallest one fits anywhere.
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
    """What `decide` says; where it fails over `delivery`, the bare dead letter."""
    try:
        return decide()
    except Exception as error:
        return judge.bare(delivery.header, delivery.body, error=words(error))
