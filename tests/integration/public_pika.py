"""pika as if its inside were unknown: its public API does all the work."""

import sys

import pytest

from longshore.amqp import private

WORKER = (
    sys.executable,
    "-c",
    "import runpy; from longshore.amqp import private; private.PIKA_SERIES = 'none'; "
    "runpy.run_module('longshore.worker', run_name='__main__', alter_sys=True)",
)
"""A worker's command."""


@pytest.fixture(autouse=True)
def public_api_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all tests of a module that imports this."""
    monkeypatch.setattr(private, "PIKA_SERIES", "none")
    assert private.connection_class() is not private.DirectConnection
