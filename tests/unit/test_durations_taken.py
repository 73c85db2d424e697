"""Every place of the Python API that takes a duration takes it in the same forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from longshore import Client, Retry, Snooze, handler
from longshore.handler import spec_of
from longshore.producing import submission
from longshore.testing import make_job

NOW = 1_700_000_000_000
URL = "amqp://user:password@rabbitmq/"


def _published(**options: Any) -> Any:
    return submission.prepare(
        "demo.mail",
        "send",
        {},
        **({"delay": 0, "expires_in": None} | options),
        priority=0,
        headers={},
        now=NOW,
        entropy=bytes(10),
    )


def _of_handler(option: str) -> Callable[[Any], float | None]:
    def read(span: Any) -> float | None:
        def work() -> None: ...

        spec = spec_of(handler(**{option: span})(work))
        assert spec is not None
        seconds: float | None = getattr(spec, option)
        return seconds

    return read


def _delay(span: Any) -> float:
    # The delay ladder's routing key holds the whole seconds in binary, the highest bit first.
    bits = _published(delay=span).key.removesuffix(".demo.mail")
    return int(bits.replace(".", ""), 2)


def _expiry(span: Any) -> float:
    expires_at: int = _published(expires_in=span).properties["headers"]["longshore-expires-at"]
    return (expires_at - NOW) / 1000


def _deadline(span: Any) -> float:
    job = make_job(hard_limit=span)
    return (job.deadline - job.enqueued_at).total_seconds()


PLACES: dict[str, Callable[[Any], float | None]] = {
    "Retry(after=…)": lambda span: Retry(after=span).after,
    "Snooze(…)": lambda span: Snooze(span).delay,
    "@handler(max_age=…)": _of_handler("max_age"),
    "@handler(hard_limit=…)": _of_handler("hard_limit"),
    "@handler(soft_limit=…)": _of_handler("soft_limit"),
    "enqueue(delay=…)": _delay,
    "enqueue(expires_in=…)": _expiry,
    "Client(timeout=…)": lambda span: Client(URL, timeout=span)._timeout,
    "make_job(hard_limit=…)": _deadline,
}

SPANS = [90, 90.0, "90s", "1m30s", "1.5m", timedelta(minutes=1.5), Decimal(90), Fraction(180, 2)]

NO_SPANS = [None, "soon", "", "90", "-90s", math.nan, b"90s", [90]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("span", SPANS, ids=repr)
def test_a_duration_is_seconds_a_timedelta_or_text(place: str, span: Any) -> None:
    assert PLACES[place](span) == 90


OPTIONAL = {
    *("Retry(after=…)", "enqueue(expires_in=…)"),
    *("@handler(max_age=…)", "@handler(hard_limit=…)", "@handler(soft_limit=…)"),
}
"""Where None means that there is none."""


@pytest.mark.parametrize(
    ("place", "span"),
    [
        pytest.param(place, span, id=f"{place}-{span!r}")
        for place in PLACES
        for span in NO_SPANS
        if span is not None or place not in OPTIONAL
    ],
)
def test_anything_else_is_refused(place: str, span: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        PLACES[place](span)


@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"make_job(hard_limit=…)"}))
@pytest.mark.parametrize("span", [-90, timedelta(seconds=-90)], ids=repr)
def test_a_duration_of_less_than_nothing_is_refused(place: str, span: Any) -> None:
    """Except for a job of a test, whose deadline may have passed."""
    with pytest.raises(ValueError, match="must be"):
        PLACES[place](span)
