"""Lists all objects of a watched kind: only their metadata, one page at a time."""

from collections.abc import Mapping
from typing import Any, Protocol

from longshore_operator.api.v1alpha1 import API_VERSION
from longshore_operator.app.watched.world import Kind
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL


class Get(Protocol):
    """A call of the Kubernetes API. Raises Transient or Invalid."""

    async def __call__(self, path: str, *, query: list[tuple[str, str]], accept: str) -> Any: ...


def items_of(found: Mapping[str, Any]) -> list[Any]:
    """Return the objects of a list. The API server writes an empty page as null in some answers."""
    return found.get("items") or []


async def uids_of(kind: Kind, *, namespace: str | None, get: Get) -> set[str]:
    """Return the uids of all objects of a kind, in one namespace or in the cluster."""
    root, is_namespaced, selector = _WATCHED[kind]
    where = f"/namespaces/{namespace}" if namespace and is_namespaced else ""
    query = [("limit", str(_PAGE)), *([("labelSelector", selector)] if selector else [])]
    found: set[str] = set()
    more = ""
    while True:
        page = await get(
            f"{root}{where}/{kind}",
            query=[*query, *([("continue", more)] if more else [])],
            accept=_METADATA,
        )
        found |= {item["metadata"]["uid"] for item in items_of(page)}
        more = page["metadata"].get("continue", "")
        if not more:
            return found


_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

_PAGE = 500
"""Objects in one answer: reading more at a time would block the event loop."""

_WATCHED: Mapping[Kind, tuple[str, bool, str]] = {
    Kind.TASK_QUEUES: (f"/apis/{API_VERSION}", True, ""),
    Kind.BROKERS: (f"/apis/{API_VERSION}", False, ""),
    Kind.DEPLOYMENTS: ("/apis/apps/v1", True, TASK_QUEUE_LABEL),
    Kind.BUDGETS: ("/apis/policy/v1", True, TASK_QUEUE_LABEL),
    Kind.PODS: ("/api/v1", True, TASK_QUEUE_LABEL),
    Kind.NAMESPACES: ("/api/v1", False, ""),
}
"""The API of each kind, whether it is namespaced, and its label selector."""
