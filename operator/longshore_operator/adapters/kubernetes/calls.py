"""Calls of the Kubernetes API: what is sent, how long it may take, and what a refusal means."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from longshore_operator.errors import UNREACHABLE, Invalid, OperatorError, Transient

TIMEOUT = 15.0
"""Seconds for one call."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"

_REFUSED = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}
)


class NotFound(Transient):
    """There is no such object."""


class KubernetesCalls:
    """Calls with one identity. All raise Transient or Invalid."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "KubernetesCalls":
        """Connect with the pod's service account or, outside a cluster, with the kubeconfig."""
        settings = client.Configuration(
            # Looking for a proxy and a .netrc takes as much CPU as the call itself. A proxy that
            # the kubeconfig names is used.
            client_session_kwargs={"trust_env": False}
        )
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=settings)
        return cls(client.ApiClient(settings))

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def read(self, path: str) -> Mapping[str, Any] | None:
        """Return an object; None if there is none."""
        try:
            found: Mapping[str, Any] = await self.send("GET", path)
        except NotFound:
            return None
        return found

    async def apply(self, path: str, body: Mapping[str, Any], *, manager: str) -> Mapping[str, Any]:
        """Make a server-side apply as the field manager `manager`, and return the resulting
        object."""
        query = [("fieldManager", manager), ("force", "true")]
        after: Mapping[str, Any] = await self.send(
            "PATCH", path, body=body, content_type=APPLY, query=query
        )
        return after

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        content_type: str = JSON,
        query: list[tuple[str, str]] | None = None,
        accept: str = JSON,
    ) -> Any:
        """Return the API server's answer, decoded from JSON."""
        request = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=query or [],
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        what = f"{method} {path}"
        try:
            response = await self._api.call_api(*request, _request_timeout=TIMEOUT)
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"{what}: {error or type(error).__name__}"
            raise Transient(text, reason=UNREACHABLE) from error
        except ApiException as error:
            raise _refusal(what, error.status, error.body) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(what, response.status, content)
        return json.loads(content)


def _refusal(what: str, status: int | None, content: Any) -> OperatorError:
    try:
        said = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        said = str(content)[:200]
    text = f"{what}: {status} {said}"
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(text, reason="NotFound")
    if status == HTTPStatus.CONFLICT:
        return Transient(text, reason="Conflict")
    # A pod template of the wrong shape is answered with 500, not 4xx (Kubernetes 1.36).
    if status in _REFUSED or "failed to create typed patch object" in str(said):
        return Invalid(text, reason="RefusedByKubernetes")
    return Transient(text, reason="KubernetesFailed")
