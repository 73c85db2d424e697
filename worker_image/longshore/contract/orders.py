"""What the operator tells one worker, over RabbitMQ. Orders may be repeated and may be lost."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CORDON_LEASE = 60.0
"""Seconds after which a cordon that nobody renews ends by itself: no worker stays deaf because its
operator is gone."""

CordonId = Annotated[str, Field(min_length=1, max_length=64)]


class OrderKind(StrEnum):
    """What is to be done."""

    CORDON = "cordon"
    """Take no more jobs, and say so once none can come any more; go on with those at hand."""

    UNCORDON = "uncordon"
    """Take jobs again."""

    DRAIN = "drain"
    """End, as on SIGTERM: the pod was asked to. The signal itself is lost if it comes before the
    process can hear it: the kernel keeps such from process 1."""


class Order(BaseModel):
    """One order. The same one twice is as good as once, but that a cordon's lease begins anew."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    kind: OrderKind
    id: CordonId
    """The cordon that is meant; of no meaning to a drain. A worker's report names it, so that
    nobody takes the word for an old cordon as one for the new."""

    lease: float = Field(default=CORDON_LEASE, gt=0, le=3600)
    """Seconds until a cordon ends unless it is ordered again."""
