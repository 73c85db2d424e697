"""What the author of a plug-in tests: Longshore's rules, and the plug-in's own purpose."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import longshore_statsd
import pytest

from longshore.middleware import load
from longshore.testing import check_middleware, make_job


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        monkeypatch.setattr(longshore_statsd, "_ADDRESS", server.getsockname())
        yield server


def test_it_keeps_the_rules() -> None:
    check_middleware("statsd")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "succeeded"), (KeyError("declined"), "announced"), (OSError("no disk"), "failed")],
)
def test_it_counts_and_times(statsd: socket.socket, error: Exception | None, outcome: str) -> None:
    job = make_job(handler="media.render", expected=(KeyError,))
    with suppress(KeyError, OSError), load("statsd").function(job):
        if error:
            raise error
    count, timing = statsd.recv(1000).decode().splitlines()
    assert count == f"longshore.media_render.{outcome}:1|c"
    assert timing.startswith("longshore.media_render.seconds:")
