"""From a broker's name to an open connection: each address gets its share of the time.

pika's own way through several addresses ends at the first that accepts TCP and then says nothing.
"""

import asyncio
import socket
from collections.abc import Sequence
from copy import copy

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from longshore.amqp.guard import Guard
from longshore.contract.timing import CONNECT_TIMEOUT, whole_heartbeat
from longshore_operator.adapters import tls
from longshore_operator.adapters.rabbitmq.amqp import (
    OPEN_TIMEOUT,
    OperatorConnection,
    fail,
    in_words,
    resolving,
    within,
)
from longshore_operator.core.access.credentials import Address
from longshore_operator.errors import OperatorError, Transient

LEAST_SHARE = 1.0
"""Seconds that each address gets at least, however many there are."""

_answered: dict[str, str] = {}
"""By a broker's host: the address of the latest connection, which is tried first."""


async def connect_amqp(address: Address, *, name: str, heartbeat: float) -> OperatorConnection:
    """Open a connection that RabbitMQ lists as `name`.

    Raises Transient or Invalid, which say how far the attempt at each address got.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + OPEN_TIMEOUT
    parameters = _parameters(address, name=name, heartbeat=heartbeat)
    places = await _resolved(parameters.host, parameters.port)
    failures: list[OperatorError] = []
    for position, place in enumerate(places):
        share = max(LEAST_SHARE, (deadline - loop.time()) / (len(places) - position))
        try:
            connection = await _open(place, parameters, address, seconds=share)
        except OperatorError as error:
            failures.append(error)
        else:
            _answered[parameters.host] = place
            return connection
    raise _summary(places, failures)


def _parameters(address: Address, *, name: str, heartbeat: float) -> pika.URLParameters:
    parameters = pika.URLParameters(
        address.amqp_url(username=address.username, password=address.password)
    )
    if address.tls:
        parameters.ssl_options = pika.SSLOptions(tls.context(address.tls), parameters.host)
    parameters.client_properties = {"connection_name": name}
    parameters.heartbeat = whole_heartbeat(heartbeat)
    # Ours is the deadline: pika's own closes a connection that opens, which it cannot do.
    parameters.stack_timeout = None
    parameters.blocked_connection_timeout = None
    return parameters


async def _resolved(host: str, port: int) -> list[str]:
    looking_up = asyncio.ensure_future(
        asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    )
    try:
        found = await within(looking_up, seconds=OPEN_TIMEOUT / 2, what=f"resolve {host}")
    except OSError as error:
        raise Transient(
            f"AMQP at {host}:{port}: {in_words(error)}", reason="Unreachable"
        ) from error
    places = list(dict.fromkeys(str(record[4][0]) for record in found))
    return sorted(places, key=lambda place: place != _answered.get(host))


async def _open(
    place: str, parameters: pika.URLParameters, address: Address, *, seconds: float
) -> OperatorConnection:
    mine = copy(parameters)
    mine.host = place
    mine.socket_timeout = min(CONNECT_TIMEOUT, seconds)
    loop = asyncio.get_running_loop()
    guard = Guard(loop)
    opened = loop.create_future()
    guard.on_fault = lambda error: fail(opened, error)
    connection = AsyncioConnection(
        mine,
        on_open_callback=resolving(opened),
        on_open_error_callback=lambda _, error: fail(opened, error),
        custom_ioloop=guard,
    )
    where = f"AMQP at {parameters.host}:{parameters.port}"
    try:
        await asyncio.wait({opened}, timeout=seconds)
        if not opened.done():
            fail(opened, TimeoutError(f"none within {seconds:.3g} s: {_reached(connection)}"))
        return OperatorConnection(opened.result(), guard)
    except BaseException as error:
        guard.shut()
        if not isinstance(error, Exception):
            raise
        found = tls.trouble(error, address=address, where=where)
        raise found or Transient(f"{where}: {in_words(error)}", reason="Unreachable") from error


def _reached(connection: AsyncioConnection) -> str:
    """How far an attempt got that has taken too long."""
    encrypted = connection.params.ssl_options is not None
    before = "no TLS handshake" if encrypted else "no TCP handshake"
    return {
        connection.CONNECTION_PROTOCOL: "TCP stands, but RabbitMQ has said nothing",
        connection.CONNECTION_START: "RabbitMQ has not answered the login",
        connection.CONNECTION_TUNE: "RabbitMQ has not opened the vhost",
    }.get(connection.connection_state, before)


def _summary(places: Sequence[str], failures: Sequence[OperatorError]) -> OperatorError:
    if len(failures) == 1:
        return failures[0]
    # What TLS has to say is of more use than that another address says nothing.
    reasons = [each.reason for each in failures]
    reason = next((each for each in reasons if each != "Unreachable"), "Unreachable")
    attempts = zip(places, failures, strict=True)
    text = "; ".join(f"{place}: {failure}" for place, failure in attempts)
    return Transient(text, reason=reason)
