"""Asks a worker why it is not ready, at the address of the kubelet's readiness probe."""

from http import HTTPStatus

import aiohttp

from longshore.contract.reports import trouble_in
from longshore_operator.app.scaling.warnings import Answer
from longshore_operator.core.kubernetes.workload import HTTP_PORT

TIMEOUT = 1.5
"""Seconds. Workers do not answer if a NetworkPolicy separates the operator from them."""

MOST = 2048
"""Most bytes of an answer that are read: a tenant's image may answer anything."""


async def ask(address: str, *, port: int = HTTP_PORT) -> Answer | None:
    """Return what the worker with this IP address answers at `/readyz`; None if it does not
    answer."""
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
