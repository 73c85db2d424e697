"""What the operator tells one worker, over RabbitMQ. Orders may be repeated and may be lost."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

CORDON_LEASE = 60.0
"""Seconds after which a cordon that nobody renews ends by itself: no worker stays deaf because its
operator is gone."""

CordonId = Annotated[str, Meta(min_length=1, max_length=64)]


class OrderKind(StrEnum):
    """What is to be done."""

    CORDON = "cordon"
    """Take no more jobs, and say so once none can come any more; go on with those at hand."""

    UNCORDON = "uncordon"
    """Take jobs again."""

    DRAIN = "drain"
    """End, as on SIGTERM: the pod was asked to. Where the signal comes before the process can hear
    it, it is lost, since the kernel keeps such from process 1."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order. The same one twice is as good as once, but that a cordon's lease begins anew."""

    version: Literal[1] = 1
    kind: OrderKind
    id: CordonId
    """The cordon that is meant; of no meaning to a drain. A worker's report names it: its word for
    an old cordon must not be taken for one about the new."""

    lease: Annotated[float, Meta(gt=0, le=3600)] = CORDON_LEASE
    """Seconds until a cordon ends unless it is ordered again."""
