"""Connections to one RabbitMQ, with their failures in the operator's terms."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from longshore.amqp import address as amqp
from longshore.amqp.connection import Connection
from longshore.amqp.dial import Dial
from longshore.amqp.errors import Lost
from longshore.contract.timing import whole_heartbeat
from longshore_operator.adapters import tls
from longshore_operator.core.access.credentials import Address
from longshore_operator.errors import Invalid, Transient

ANSWER_WITHIN = 10.0
"""Seconds for the answer to a call."""


async def connect_amqp(address: Address, *, name: str, heartbeat: float) -> Connection:
    """Open a connection that RabbitMQ lists as `name`.

    Raises Transient or Invalid, which say how far the attempt at each address got.
    """
    try:
        return await Dial(_parameters(address, name=name, heartbeat=heartbeat), purpose=name).open()
    except Lost as error:
        where = f"AMQP at {address.host}:{address.port}"
        trouble = tls.trouble(error, address=address, where=where)
        if trouble is None:
            raise Transient(f"{where}: {error}", reason="Unreachable") from error
        if len(error.exceptions) > 1:
            raise Transient(f"{trouble}; {error}", reason=trouble.reason) from error
        raise trouble from error


@asynccontextmanager
async def answered(what: str) -> AsyncIterator[None]:
    """Limit the time for RabbitMQ's answers. Raises Transient if it does not answer, or closes."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            yield
    except Lost as error:
        raise Transient(f"AMQP: {what}: {error}", reason="Unreachable") from error
    except TimeoutError:
        text = f"AMQP: {what}: no answer in {ANSWER_WITHIN:g} s"
        raise Transient(text, reason="Unreachable") from None


def _parameters(address: Address, *, name: str, heartbeat: float) -> amqp.Parameters:
    url = address.amqp_url(username=address.username, password=address.password)
    try:
        found = amqp.parameters(url, authority=address.authority)
    except ValueError as error:
        raise Invalid(f"invalid address of RabbitMQ: {error}", reason="SecretInvalid") from error
    found.client_properties = {"connection_name": name}
    found.heartbeat = whole_heartbeat(heartbeat)
    return found
