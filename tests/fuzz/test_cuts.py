"""A real worker on real brokers, whose connections are cut after any byte of theirs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.conftest import Seeds
from tests.integration import topology
from tests.integration.conftest import Broker
from tests.integration.relay import Cut, Relay
from tests.integration.worker.workers import bench_for, wait_for

pytestmark = pytest.mark.integration

JOBS = 30
"""Of each seed; most run in milliseconds, some fail first."""


class Scissors:
    """Passes on what the broker says, and cuts a connection in it a few times."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._cuts = dice.randrange(1, 5)
        self._left = self._next()

    def __call__(self, data: bytes) -> bytes:
        if self._cuts == 0:
            return data
        if self._left < len(data):
            passed = data[: self._left]
            self._cuts -= 1
            self._left = self._next()
            raise Cut(passed)
        self._left -= len(data)
        return data

    def _next(self) -> int:
        return self._dice.choice((self._dice.randrange(1, 900), self._dice.randrange(6000)))


def test_every_job_is_done_however_the_connections_are_cut(
    seeds: Seeds, broker: Broker, tmp_path: Path
) -> None:
    with bench_for(broker, tmp_path) as bench, Relay(broker.amqp) as relay:
        topology.declare_queue(broker.channel, bench.queue)
        bench.amqp = relay.url
        worker = bench.started(
            slots=2, prefetch=8, retry={"initial_delay": 0, "jitter": 0.0, "max_attempts": 100}
        )
        for seed in seeds:
            dice = random.Random(seed)
            expected = set[str]()
            relay.rewrite = Scissors(dice)
            for number in range(JOBS):
                name = f"{seed}-{number}"
                expected.add(name)
                bench.enqueue("write", diary=bench.diary, text=name)
                if dice.random() < 0.2:
                    bench.enqueue("fail.twice", diary=f"{bench.diary}-failing")

            def have_come(expected: set[str] = expected) -> bool:
                return expected <= {line.split(" ")[0] for line in bench.lines()}

            wait_for(have_come, deadline=60, why=worker.text)
            assert worker.process.poll() is None, worker.text()
        relay.rewrite = bytes
        wait_for(bench.is_empty, deadline=60, why=worker.text)
        assert worker.stop() == 0
