"""Opens a link from a broker's name: tries every address, and divides the time among them."""

from __future__ import annotations

import socket
import time
from typing import Any

from longshore.amqp.address import Parameters, address_of
from longshore.amqp.link import BlockingLink
from longshore.errors import BrokerUnavailable
from longshore.producing.desk import Errand

Record = tuple[Any, Any, int, str, Any]
"""One of the answers of `socket.getaddrinfo`."""


class Dialer:
    """Opens links to one broker, and remembers which address behind its name answered last.

    Not thread-safe.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._answered: Any = None

    def dial(self, errand: Errand) -> BlockingLink:
        """Return an open link. Raises BrokerUnavailable, with the progress of each attempt.

        The address that answered last comes first. Each one gets its share of the remaining time,
        so that an address that does not answer leaves time for the others.
        """
        host, port = self._parameters.host, self._parameters.port
        errand.stage = f"resolving {host!r}"
        try:
            records = self._resolved(host, port)
        except (OSError, UnicodeError) as error:
            raise self._failed([f"resolving {host!r}: {error}"]) from error
        failures: list[str] = []
        for position, record in enumerate(records):
            now = time.monotonic()
            until = now + max(0.0, errand.deadline - now) / (len(records) - position)
            link = BlockingLink(self._parameters, record)
            try:
                link.open(errand, until=until)
            except BrokerUnavailable as error:
                failures.append(str(error))
            else:
                self._answered = record[4]
                return link
        raise self._failed(failures)

    def _resolved(self, host: str, port: int) -> list[Record]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        records = list({record[4]: record for record in found}.values())
        return sorted(records, key=lambda record: record[4] != self._answered)

    def _failed(self, failures: list[str]) -> BrokerUnavailable:
        where = address_of(self._parameters.host, self._parameters.port)
        return BrokerUnavailable(f"cannot connect to RabbitMQ at {where}: {'; '.join(failures)}")
