"""Foreign policies for the exchanges that all TaskQueues share."""

from collections.abc import Iterable, Mapping

from longshore_operator.core.rabbitmq.topology import Exchange
from longshore_operator.trouble import Trouble


def foreign_exchange_policy(
    in_force: Mapping[str, str], exchanges: Iterable[Exchange]
) -> Trouble | None:
    """Return the consequence of the policies that are `in_force`, by exchange; None if there are
    none. Longshore's own policies are not for exchanges.

    With `alternate-exchange`, a job that no queue takes is confirmed to its producer and ends
    elsewhere, instead of being returned.
    """
    found = {each.name: in_force[each.name] for each in exchanges if each.name in in_force}
    if not found:
        return None
    names = sorted(found)
    which = ", ".join(names[:_NAMED]) + (
        f" and {more} more" if (more := len(names) - _NAMED) > 0 else ""
    )
    policies = ", ".join(sorted({repr(policy) for policy in found.values()}))
    return Trouble(
        reason="ForeignPolicy",
        message=f"foreign policy {policies} is in force for exchange {which}: jobs that no "
        "queue takes may be confirmed and end elsewhere; apply it to queues only, or exclude "
        "longshore.* from its pattern",
    )


_NAMED = 3
"""Exchanges that a message names."""
