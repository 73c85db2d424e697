"""A budget of time for each fuzzer, and the seeds of what it tries."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.integration.conftest import broker, brokers, vhost

__all__ = ["broker", "brokers", "vhost"]

SECONDS_ENV = "LONGSHORE_FUZZ_SECONDS"
"""Seconds for all fuzzers together; each has `BRIEF` without it."""

SEED_ENV = "LONGSHORE_FUZZ_SEED"
"""The one seed to try, to look at a failure again."""

BRIEF = 2.0
"""Seconds of one fuzzer in an ordinary run of the tests."""


class Seeds:
    """Iterate over seeds until the budget is used up; at least one is given."""

    def __init__(self, *, seconds: float, first: int, only: bool = False) -> None:
        self.latest: int | None = None
        self.tried = 0
        self._seconds = seconds
        self._first = first
        self._only = only

    def __iter__(self) -> Iterator[int]:
        end = time.monotonic() + self._seconds
        seed = self._first
        while True:
            self.latest = seed
            yield seed
            self.tried += 1
            seed += 1
            if self._only or time.monotonic() >= end:
                return


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> Iterator[Seeds]:
    """Seeds of what this fuzzer tries. A failure prints the one that it failed over."""
    seconds = os.environ.get(SECONDS_ENV)
    if only := os.environ.get(SEED_ENV):
        found = Seeds(seconds=0, first=int(only), only=True)
    elif seconds:
        share = float(seconds) / len(request.session.items)
        found = Seeds(seconds=share, first=random.SystemRandom().randrange(10**9))
    else:
        found = Seeds(seconds=BRIEF, first=0)
    yield found
    print(f"{found.tried} inputs tried; the last: {SEED_ENV}={found.latest}")
