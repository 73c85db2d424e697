"""Children killed at random: every job is done, and each death is charged to the job that ran."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import defaultdict

import pytest

from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration

JOBS = 120
KILLS = 25


def test_a_death_charges_exactly_the_running_job(bench: Bench) -> None:
    bench.tolerated.add("child-died-idle")  # a kill may hit a child before its first job
    worker = bench.started(
        slots=2,
        prefetch=2,
        retry={"initial_delay": 0.0, "jitter": 0.0, "max_attempts": 50},
    )
    for number in range(JOBS):
        bench.enqueue("endure", diary=bench.diary, number=number)
    descriptors = worker.descriptors()
    kills = 0
    dice = random.Random(7)
    while kills < KILLS:
        time.sleep(dice.uniform(0, 0.06))
        lines = bench.lines()
        if lines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(lines[-1].split()[3]), signal.SIGKILL)
                kills += 1
        if len(worker.events("job", outcome="succeeded")) >= JOBS:
            break
    worker.wait("job", count=JOBS, outcome="succeeded", deadline=60)
    starts: dict[int, list[int]] = defaultdict(list)
    for line in bench.lines():
        number, what, attempt, _ = line.split()
        if what == "start":
            starts[int(number)].append(int(attempt))
    assert len(starts) == JOBS
    # An attempt that appears twice was begun and not charged.
    assert all(len(attempts) == len(set(attempts)) for attempts in starts.values())
    charged = sum(max(attempts) - 1 for attempts in starts.values())
    assert charged == len(worker.events("job", outcome="retried"))
    assert 0 < charged <= kills
    # A gap was charged before the handler's first line: a job begins when its child looks into it.
    unseen = charged - sum(len(attempts) - 1 for attempts in starts.values())
    assert unseen <= kills // 5
    wait_for(lambda: worker.descriptors() == descriptors, why=worker.descriptors)
    assert worker.stop() == 0
    assert bench.is_empty()
