"""Two versions of the workers serve one queue, as in every rollout."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.contract.message import ATTEMPT, DEAD_REASON, DEFERRED_SINCE, ERROR
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration

BEFORE = """
from longshore import handler

@handler
def render(name: str) -> None:
    print("before", name)
"""
AFTER = """
from longshore import handler

@handler
def render(name: str, preset: str = "h264") -> None:
    print("after", name, preset)

@handler
def brand_new() -> None:
    print("brand new")
"""
JOBS = 6


def version(bench: Bench, name: str, source: str, **config: object) -> Worker:
    (bench.directory / f"{name}.py").write_text(source)
    return bench.started(handlers=[name], **config)


def ran(*workers: Worker) -> int:
    return sum(len(worker.events("job-settled", outcome="succeeded")) for worker in workers)


@pytest.mark.parametrize(
    ("handler", "arguments"), [("brand_new", {}), ("render", {"name": "a", "preset": "av1"})]
)
def test_jobs_that_only_the_new_version_runs_wait_for_it(
    bench: Bench, handler: str, arguments: dict[str, Any]
) -> None:
    old = version(bench, "before", BEFORE)
    for _ in range(JOBS):
        bench.enqueue(handler, **arguments)
    old.wait("job-settled", outcome="deferred", count=JOBS)
    told = old.events("job-settled", outcome="deferred")[-1]
    assert told["attempt"] == 1
    assert told["delay"] >= 1
    new = version(bench, "after", AFTER)
    wait_for(lambda: ran(new) == JOBS, deadline=60, why=new.text)
    assert not old.events("job-settled", outcome="dead")
    assert {job["attempt"] for job in new.events("job-settled", outcome="succeeded")} == {1}
    assert 'longshore_jobs_total{outcome="deferred"}' in old.get("/metrics")[1]


def test_a_job_that_no_version_knows_is_dead_after_its_time(bench: Bench) -> None:
    worker = version(bench, "before", BEFORE, retry={"defer_for": 2.0})
    bench.enqueue("nowhere")
    properties, _ = bench.dead()
    assert worker.events("job-settled", outcome="deferred")
    assert properties.headers[DEAD_REASON] == "unknown-handler"
    assert "deferred to other versions of the workers for " in properties.headers[ERROR]
    assert properties.headers[ATTEMPT] == 1
    assert properties.headers[DEFERRED_SINCE] > 0
