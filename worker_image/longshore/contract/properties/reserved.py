"""Headers and properties on which RabbitMQ acts or which it writes: they are never sent on as they
are.

Measured on 4.0.5 and 4.3.6, and read in RabbitMQ's sources up to 4.3 with the plugins that it
ships. Everything that publishes on behalf of a producer (the Client, retries, dead letters) uses
these definitions.
"""

from typing import Any

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
"""A `reply_to` with which a channel may publish only while it consumes from exactly this name."""

PROPERTIES = frozenset({"user_id", "expiration"})
"""Properties on which RabbitMQ acts. It refuses a `user_id` that is not the publisher's own, and an
`expiration` ends the message, even in the delay ladder or as a dead letter. A `reply_to` is one of
them only if it is `DIRECT_REPLY_TO`."""

MAX_HEADER_DEPTH = 32
"""Most levels of tables and lists in a header. AMQP sets no limit, but readers are recursive."""

_EXACT = frozenset(
    {
        *("CC", "BCC"),  # further routing keys; no other spelling has a meaning
        *("x-death", "x-delivery-count", "x-acquired-count", "x-routed-by", "x-match"),
        *("x-exchange", "x-routing-key", "x-binding-key", "x-cc"),  # annotations of AMQP 1.0
        *("x-delay", "x-recent-history-no-store", "x-received-from"),  # exchanges of plugins
        *("x-shovelled", "x-shovelled-by", "x-shovelled-timestamp"),
    }
)
_PREFIXES = (
    *("x-first-death-", "x-last-death-", "x-stream-", "x-basic-", "x-opt-"),
    "x-original-",  # federation of queues
)


def is_brokers(header: str | bytes) -> bool:
    """Return whether RabbitMQ acts on a header of this name, or writes it.

    Such headers must not be sent again: `CC` would route the next attempt elsewhere too, and before
    4.0.1 a republished `x-death` looks like a dead-letter cycle. A name that is not UTF-8 (bytes)
    is not one of them.
    """
    return isinstance(header, str) and (header in _EXACT or header.startswith(_PREFIXES))


def is_too_nested(value: Any, *, most: int = MAX_HEADER_DEPTH) -> bool:
    """Return whether `value` has dicts, lists and tuples nested more than `most` levels deep, or
    endlessly.

    It is also True if the contents, written out, would exceed any AMQP frame.
    """
    level = [value]
    seen = 0
    for _ in range(most + 1):
        level = [inner for outer in level for inner in _members(outer)]
        seen += len(level)
        if not level:
            return False
        if seen > _MAX_VALUES:  # a list that holds one twice that holds one twice …
            return True
    return True


_MAX_VALUES = 100_000


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
