"""Children killed at random: every job is done, and each death is charged to the job that ran."""

from __future__ import annotations

import random

import pytest

from benchmarks.worker import deaths
from benchmarks.worker.broker import Broker
from tests.integration.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

JOBS = 5_000
"""The same with 100,000: `python -m benchmarks.worker --rounds 0 --only deaths`."""


@pytest.mark.parametrize("series", ["4.0", "4.3"])
@pytest.mark.usefixtures("brokers")
def test_each_death_is_charged_to_the_job_that_ran_and_to_no_other(series: str) -> None:
    """`benchmarks/worker/deaths.py` says what is compared with what."""
    broker = Broker.from_record(series, root=ROOT)
    found = deaths.charge(broker, jobs=JOBS, chance=random.Random(series), between_kills=0.05)
    assert found.mismatches == 0, found.examples
    assert (found.missing, found.left) == (0, 0)
    assert found.charged_in_handler == found.killed_in_handler > 0
    # Every charge whose handler began is one more run than there are jobs.
    assert found.runs == JOBS + found.charged_in_handler + found.charged_after_last_line
