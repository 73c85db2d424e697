"""Lists of the API server, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from longshore_operator.adapters.kubernetes.lists import items_of, uids_of
from longshore_operator.app.watched.world import Kind


def page(*uids: str, more: str = "") -> dict[str, Any]:
    items = [{"metadata": {"uid": uid}} for uid in uids]
    return {"items": items or None, "metadata": {"continue": more} if more else {}}


@pytest.mark.parametrize(
    ("pages", "uids"),
    [
        ([page()], set()),
        ([page("a", "b")], {"a", "b"}),
        ([page("a", more="1"), page()], {"a"}),
        ([page(more="1"), page("b", more="2"), page("c")], {"b", "c"}),
    ],
    ids=["nothing", "one-page", "an-empty-last-page", "an-empty-first-page"],
)
async def test_all_pages_are_read_also_those_without_objects(
    pages: list[dict[str, Any]], uids: set[str]
) -> None:
    async def get(path: str, *, query: list[tuple[str, str]], accept: str) -> Any:
        assert path == "/api/v1/namespaces/media/pods"
        return pages.pop(0)

    assert await uids_of(Kind.PODS, namespace="media", get=get) == uids
    assert pages == []


@pytest.mark.parametrize("found", [{"items": None}, {"items": []}, {}])
def test_a_list_without_objects_is_empty_however_it_is_written(found: dict[str, Any]) -> None:
    assert items_of(found) == []
