"""A message to publish."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pika import BasicProperties as Properties

__all__ = ["Properties", "Publication"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message to publish, persistent and mandatory."""

    exchange: str
    key: str
    properties: Mapping[str, Any]
    """Keyword arguments of the AMQP client's properties."""

    body: bytes = field(repr=False)
