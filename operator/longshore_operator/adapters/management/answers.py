"""Answers that are not RabbitMQ's: a proxy in front of its management API may answer anything."""

from collections.abc import Iterator
from contextlib import contextmanager

from longshore_operator.errors import Transient


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Read an answer; raise Transient if its JSON does not have the shape of RabbitMQ's."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise no_management(where) from error


def no_management(where: str) -> Transient:
    """Return the error for another server that answers at `where`."""
    return Transient(
        f"{where}: the answer is not from RabbitMQ's management API; is spec.managementURL "
        "correct, and is there a proxy in between?",
        reason="ManagementFailed",
    )
