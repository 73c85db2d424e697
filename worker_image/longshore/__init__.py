"""Durable work queues on Kubernetes and RabbitMQ.

from longshore import Client, Job, handler
"""

from typing import TYPE_CHECKING, Any

from longshore.errors import (
    BrokerUnavailable,
    ConfirmTimeout,
    DeliveryLost,
    Discard,
    Draining,
    EnqueueError,
    Interrupted,
    InvalidAddress,
    InvalidJob,
    LongshoreError,
    MiddlewareError,
    NotPermitted,
    QueueFull,
    QueueNotFound,
    Retry,
    Snooze,
    SoftTimeLimit,
)

# Not lazily: once imported, the modules of the same names would replace the decorators.
from longshore.handler import Job, handler
from longshore.middleware import Middleware, middleware

if TYPE_CHECKING:
    from longshore.client import Client

__all__ = [
    "BrokerUnavailable",
    "Client",
    "ConfirmTimeout",
    "DeliveryLost",
    "Discard",
    "Draining",
    "EnqueueError",
    "Interrupted",
    "InvalidAddress",
    "InvalidJob",
    "Job",
    "LongshoreError",
    "Middleware",
    "MiddlewareError",
    "NotPermitted",
    "QueueFull",
    "QueueNotFound",
    "Retry",
    "Snooze",
    "SoftTimeLimit",
    "handler",
    "middleware",
]


def __getattr__(name: str) -> Any:
    # Only producers need pika; processes that run jobs import this package without it.
    if name == "Client":
        from longshore.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
