"""Answers that are not RabbitMQ's: a proxy before its management API may say anything."""

from collections.abc import Iterator
from contextlib import contextmanager

from longshore_operator.errors import Transient


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Read an answer. JSON of another shape than RabbitMQ's raises Transient."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise no_management(where) from error


def no_management(where: str) -> Transient:
    """What it means that something else answers at `where`."""
    return Transient(
        f"{where}: what answers there is not RabbitMQ's management API; is spec.managementURL "
        "right, and is there a proxy between?",
        reason="ManagementFailed",
    )
