"""Calls of the management API: what is sent, how many at a time, and what a refusal means."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic_core import from_json
from yarl import URL

from longshore.contract.timing import CONNECT_TIMEOUT
from longshore_operator.adapters import tls
from longshore_operator.adapters.management.answers import no_management
from longshore_operator.core.access.credentials import Address
from longshore_operator.errors import Invalid, Transient

TIMEOUT = 20.0
"""Seconds for one call; the slowest, writing a policy among 500 others, takes 0.4 s."""

AT_ONCE = 8
"""Calls at the same time; RabbitMQ writes its objects one after the other anyway."""


class ManagementCalls:
    """Calls with the administrator's credentials. Must be created while an event loop runs."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.url = f"{address.management_url}/api/"
        credentials = aiohttp.encode_basic_auth(
            address.username, address.password, encoding="utf-8"
        )
        self._client = aiohttp.ClientSession(
            headers={"Authorization": credentials},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT_TIMEOUT),
            connector=aiohttp.TCPConnector(ssl=tls.context(address.tls)),
            # A proxy from the environment would see the administrator's password.
            trust_env=False,
        )
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def send(
        self, method: str, *path: str, query: str = "", body: Mapping[str, Any] | None = None
    ) -> "ManagementAnswer":
        """Return the answer, whatever its status. Raises Transient if there is none."""
        # Already encoded: a vhost named "/" is %2F and must stay so.
        url = URL(self.url + "/".join(quote(part, safe="") for part in path) + query, encoded=True)
        try:
            async with (
                self._at_once,
                self._client.request(method, url, json=body, allow_redirects=False) as answer,
            ):
                response = ManagementAnswer(
                    what=f"{method} {url}", status=answer.status, body=await answer.read()
                )
        except RuntimeError as error:
            raise Transient("the session was closed meanwhile", reason="Connecting") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # This task was not cancelled: aiohttp raises this if it is closed during a name lookup.
            raise Transient("the session was closed meanwhile", reason="Connecting") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            found = tls.trouble(error, address=self._address, where=self.url)
            text = f"{self.url}: {error or type(error).__name__}"
            raise found or Transient(text, reason="Unreachable") from error
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise Transient(
                f"RabbitMQ at {self.url} refuses user {self._address.username!r}: it does not "
                "exist, has another password, or has no tag that permits the management API",
                reason="AuthenticationFailed",
            )
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementAnswer:
    """One answer; `what` is the call."""

    what: str
    status: int
    body: bytes

    def json(self) -> Any:
        """Return its body. Raises Transient if that is not JSON."""
        try:
            return from_json(self.body)  # twice as fast as json, on megabytes every few seconds
        except ValueError as error:
            raise no_management(self.what) from error


def checked(response: ManagementAnswer) -> ManagementAnswer:
    """Return the answer if it is not a refusal, otherwise raise Transient or Invalid."""
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return response
    said = response.body[:200].decode(errors="replace")
    with suppress(ValueError, AttributeError):  # not RabbitMQ's own message
        said = from_json(response.body).get("reason", said)
    text = f"{response.what}: {response.status} {said}"
    if response.status == HTTPStatus.BAD_REQUEST:
        raise Invalid(text, reason="Refused")
    raise Transient(text, reason="ManagementFailed")
