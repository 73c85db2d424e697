from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.private import Private
from tests.integration.conftest import connected, virtual_host
from tests.integration.relay import Relay
from tests.integration.worker.conftest import bench as plain_bench
from tests.integration.worker.conftest import declared
from tests.integration.worker.workers import Bench


@pytest.fixture
def bench(plain_bench: Bench) -> Bench:
    """A queue of its own, and workers that serve the torments too."""
    return tormented(plain_bench)


@pytest.fixture
def own_bench(own: Private, tmp_path: Path) -> Iterator[Bench]:
    """The same on a broker of its own: an alarm is the whole broker's."""
    with (
        virtual_host(own.series.name, own.record) as vhost,
        connected(vhost) as broker,
        declared(broker, tmp_path) as bench,
    ):
        yield tormented(bench)


def tormented(bench: Bench) -> Bench:
    bench.folders.append(Path(__file__).parent)
    bench.modules.append("torments")
    return bench


@pytest.fixture
def relay(bench: Bench) -> Iterator[Relay]:
    """A proxy between this test's workers and the broker."""
    with Relay(bench.broker.amqp) as relay:
        bench.amqp = relay.url
        yield relay


__all__ = ["plain_bench"]
