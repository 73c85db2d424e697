from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.relay import Relay
from tests.integration.worker.conftest import bench as plain_bench
from tests.integration.worker.workers import Bench


@pytest.fixture
def bench(plain_bench: Bench) -> Bench:
    """A queue of its own, and workers that serve the torments too."""
    plain_bench.folders.append(Path(__file__).parent)
    plain_bench.modules.append("torments")
    return plain_bench


@pytest.fixture
def relay(bench: Bench) -> Iterator[Relay]:
    """A proxy between this test's workers and the broker."""
    with Relay(bench.broker.amqp) as relay:
        bench.amqp = relay.url
        yield relay


__all__ = ["plain_bench"]
