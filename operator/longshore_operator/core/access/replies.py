"""Checks the addresses at which workers receive orders, which are RabbitMQ's direct reply-to.

RabbitMQ writes them into reports, but anyone with a worker's credentials may write anything there.
The operator publishes through the default exchange, with all rights, so the name of a queue would
make it publish to that queue. RabbitMQ 4.0.5 decodes an address as an Erlang term and closes the
operator's connection (541) if it is not one, so it must be well-formed to its end.
"""

import base64
import re

from longshore.contract.names import REPLY_TO

# Erlang's id of the channel's process in base64, and 16 random bytes that only the channel knows.
_ADDRESS = re.compile(rf"{re.escape(REPLY_TO)}\.([A-Za-z0-9+/]+={{0,2}})\.[A-Za-z0-9+/]{{22}}==")

# 131: a term follows; 88: a process id; 118: its node's name, with a length of two bytes before it;
# then three numbers of four bytes.
_PROCESS = re.compile(rb"\x83Xv(..)(reply@[0-9]+).{12}", re.DOTALL)


def is_reply_address(value: object) -> bool:
    """Return whether `value` is certainly the address of a channel that consumes `REPLY_TO`."""
    address = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if address is None or len(address[1]) % 4:
        return False
    process = _PROCESS.fullmatch(base64.b64decode(address[1]))
    return process is not None and int.from_bytes(process[1], "big") == len(process[2])
