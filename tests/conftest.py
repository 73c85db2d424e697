"""What holds for all tests: how they are spread over the processes of one run."""

from __future__ import annotations

import os

import pytest
from xdist.remote import Producer

from tests.scheduling import ALONE, LaneScheduling, tell_groups


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LaneScheduling:
    return LaneScheduling(config, log)


@pytest.hookimpl(trylast=True)  # once all marks are there
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests alone come first, whatever runs them. What takes long begins early, so that the run
    does not end with waiting for it."""
    items.sort(key=lambda item: (not _is_alone(item), item.get_closest_marker("slow") is None))


@pytest.hookimpl(tryfirst=True)  # before the scheduling process hears of it
def pytest_collection_finish(session: pytest.Session) -> None:
    if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        tell_groups(session.items, run=run)


def _is_alone(item: pytest.Item) -> bool:
    group = item.get_closest_marker("xdist_group")
    return group is not None and ALONE in group.args
