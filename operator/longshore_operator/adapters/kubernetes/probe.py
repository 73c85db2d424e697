"""Asks a worker why it is not ready, as the kubelet asks whether it is."""

from http import HTTPStatus

import aiohttp

from longshore.contract.reports import trouble_in
from longshore_operator.app.scaling.warnings import Answer
from longshore_operator.core.kubernetes.workload import HTTP_PORT

TIMEOUT = 1.5
"""Seconds. A NetworkPolicy may keep the operator from its workers: then they do not answer."""

MOST = 2048
"""Bytes of an answer that are read. A tenant's image may answer anything."""


async def ask(address: str, *, port: int = HTTP_PORT) -> Answer | None:
    """What the worker with this IP address says at `/readyz`; None where it does not answer."""
    host = f"[{address}]" if ":" in address else address
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(f"http://{host}:{port}/readyz", allow_redirects=False) as response,
        ):
            body = await response.content.read(MOST)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return Answer(response.status == HTTPStatus.OK, trouble_in(body))
