from __future__ import annotations

from typing import Any

import pytest

from longshore.contract.properties.reserved import MAX_HEADER_DEPTH, is_brokers, is_too_nested


@pytest.mark.parametrize(
    "header",
    [
        *("CC", "BCC", "x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count"),
        *("x-acquired-count", "x-delay", "x-stream-filter-value", "x-opt-delivery-time", "x-match"),
    ],
)
def test_a_header_on_which_rabbitmq_acts_is_known(header: str) -> None:
    assert is_brokers(header)


@pytest.mark.parametrize("header", ["cc", "Bcc", "x-request-id", "tenant", "traceparent", b"CC"])
def test_a_header_that_only_looks_like_one_is_its_producers(header: str | bytes) -> None:
    assert not is_brokers(header)


def test_a_header_may_nest_as_deep_as_readers_can_follow() -> None:
    value: Any = "leaf"
    for _ in range(MAX_HEADER_DEPTH):
        value = {"a": [], "b": value}
    assert not is_too_nested(value)
    assert is_too_nested([value])


def test_a_header_that_holds_itself_or_doubles_at_each_level_is_too_nested() -> None:
    loop: list[Any] = []
    loop.append((loop, loop))
    doubled: list[Any] = [0]
    for _ in range(MAX_HEADER_DEPTH - 1):
        doubled = [doubled, doubled]

    assert is_too_nested(loop)
    assert is_too_nested(doubled)
