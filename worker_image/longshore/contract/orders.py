"""Orders from the operator to one worker, sent over RabbitMQ. They may be repeated or lost."""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

CORDON_LEASE = 60.0
"""Seconds after which a cordon ends unless it is renewed, so that no worker stays cordoned because
its operator has ended."""

CordonId = Annotated[str, Meta(min_length=1, max_length=64)]


class CordonOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cordon"):
    """Take no more jobs, report as soon as none can arrive any more, and finish those at hand.

    A repeated order only renews the lease.
    """

    version: Literal[1] = 1
    id: CordonId
    """A worker's report names the cordon, so that the confirmation of an old one is not mistaken
    for that of a new one."""

    lease: Annotated[float, Meta(gt=0, le=3600)] = CORDON_LEASE
    """Seconds until the cordon ends unless it is ordered again."""


class UncordonOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="uncordon"):
    """Take jobs again."""

    version: Literal[1] = 1
    id: CordonId
    """The cordon that ends."""


class DrainOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="drain"):
    """Drain, as on SIGTERM, because the pod is being terminated. SIGTERM is lost if it arrives
    before the process handles it: the kernel does not deliver unhandled signals to process 1."""

    version: Literal[1] = 1


Order = CordonOrder | UncordonOrder | DrainOrder
"""An order to one worker; `kind` in the message tells which."""

OrderKind = Annotated[str, Meta(min_length=1, max_length=32)]

UNDERSTOOD: tuple[OrderKind, ...] = tuple(
    str(each.__struct_config__.tag) for each in get_args(Order)
)
"""The orders that this version of the worker obeys, as its report names them."""
