from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import topology
from tests.integration.conftest import Broker
from tests.integration.worker.workers import Bench, bench_for


@pytest.fixture
def bench(broker: Broker, tmp_path: Path) -> Iterator[Bench]:
    with declared(broker, tmp_path) as bench:
        yield bench


@contextmanager
def declared(broker: Broker, directory: Path) -> Iterator[Bench]:
    """A queue of its own and room for workers; at the end none of their processes may be left."""
    with bench_for(broker, directory) as bench:
        topology.declare_queue(broker.channel, bench.queue)
        yield bench
