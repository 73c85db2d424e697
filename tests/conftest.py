"""What holds for all tests: how they are spread over the processes of one run."""

from __future__ import annotations

import pytest
from xdist.remote import Producer

from tests.scheduling import LaneScheduling


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LaneScheduling:
    return LaneScheduling(config, log)
