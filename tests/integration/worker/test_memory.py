"""The memory limit of a job counts what its processes share once."""

from __future__ import annotations

import pytest

from longshore.contract.message import DEAD_REASON
from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024
LIMIT = 250 * MEGABYTE

MODULE = """
import multiprocessing, os, time
from longshore import handler

MODEL = [os.urandom(1 << 20) for _ in range(80)]

def part(megabytes):
    own = [os.urandom(1 << 20) for _ in range(megabytes)]
    time.sleep(2)
    return len(MODEL) + len(own)

@handler(max_attempts=1)
def predict(megabytes: int) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(part, [megabytes] * 4, chunksize=1)
"""


@pytest.fixture
def predicting(bench: Bench) -> Bench:
    (bench.directory / "model.py").write_text(MODULE)
    bench.started(handlers=["model"], memory_limit_per_job=LIMIT)
    return bench


def test_processes_that_share_a_model_may_each_use_it(predicting: Bench) -> None:
    """Five times 110 MB are resident, of which all but 30 are the same."""
    predicting.enqueue("predict", megabytes=0)
    predicting.workers[0].wait("job-settled", outcome="succeeded")


def test_what_each_of_them_has_for_itself_adds_up(predicting: Bench) -> None:
    predicting.enqueue("predict", megabytes=60)
    assert predicting.dead()[0].headers[DEAD_REASON] == "memory-limit"
