"""What the operator tells one worker, over RabbitMQ. Orders may be repeated and may be lost."""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

CORDON_LEASE = 60.0
"""Seconds after which a cordon that nobody renews ends by itself: no worker stays deaf because its
operator is gone."""

CordonId = Annotated[str, Meta(min_length=1, max_length=64)]


class CordonOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cordon"):
    """Take no more jobs, and say so once none can come any more; go on with those at hand.

    The same one twice is as good as once, but that the lease begins anew.
    """

    version: Literal[1] = 1
    id: CordonId
    """A worker's report names it: its word for an old cordon must not be taken for one about the
    new."""

    lease: Annotated[float, Meta(gt=0, le=3600)] = CORDON_LEASE
    """Seconds until the cordon ends unless it is ordered again."""


class UncordonOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="uncordon"):
    """Take jobs again."""

    version: Literal[1] = 1
    id: CordonId
    """The cordon that ends."""


class DrainOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="drain"):
    """End, as on SIGTERM: the pod was asked to. Where the signal comes before the process can hear
    it, it is lost, since the kernel keeps such from process 1."""

    version: Literal[1] = 1


Order = CordonOrder | UncordonOrder | DrainOrder
"""What an operator may ask of one worker. `kind` says which order a message is."""

OrderKind = Annotated[str, Meta(min_length=1, max_length=32)]

UNDERSTOOD: tuple[OrderKind, ...] = tuple(
    str(each.__struct_config__.tag) for each in get_args(Order)
)
"""The orders that this version of the worker obeys, as its report names them."""
