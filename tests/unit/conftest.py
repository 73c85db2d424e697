"""Hypothesis looks for wrong answers here, not for slow ones: machines are shared.

Tests marked `virtual_time` have an event loop that never waits for its clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared-machine")

BEGINNING = 1000.0
"""What the clock shows at first: enough for a test to go back some minutes."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything is to be done; else it is what is due next."""

    def __init__(self) -> None:
        self._now = BEGINNING
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # nothing is due: a thread or a process is to be heard of
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self._pass_time(max(0.0, timeout))
        return ready


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    is_virtual = item.get_closest_marker("virtual_time")
    return {"loop": VirtualTimeLoop if is_virtual else asyncio.new_event_loop}
