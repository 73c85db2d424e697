"""Whatever a producer passes to `enqueue`, it gets an id or an EnqueueError."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pika
import pytest

from longshore import Client, EnqueueError, Job, handler
from longshore.contract import message
from longshore.producing.publisher import BlockingPublisher
from longshore.producing.submission import Submission
from tests.fuzz.conftest import Seeds


class Hostile:
    """Raises wherever it can."""

    def _fail(self, *_: object) -> Any:
        raise LookupError("hostile")

    __repr__ = __str__ = __float__ = __int__ = __index__ = __bool__ = __len__ = __iter__ = _fail
    __eq__ = __lt__ = __hash__ = __getattr__ = _fail


class HostileMapping(Mapping[str, Any]):
    """A mapping in name only."""

    def __getitem__(self, _: str) -> Any:
        raise RuntimeError("hostile")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("hostile")

    def __len__(self) -> int:
        return 1


class HostileText(str):
    """Text that cannot be handled."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise OSError("hostile")

    lower = startswith = partition = encode  # type: ignore[assignment]  # hostile on purpose


class Colour(enum.IntEnum):
    RED = 1


@dataclass
class Unhashable:
    """Equal by value, so without a hash."""

    codes: tuple[int, ...] = (1,)

    def __call__(self, _: Exception) -> bool:
        return True


class Schemaless:
    """pydantic asks a type for its schema; this one raises."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise ZeroDivisionError("no schema")


class Invalid:
    """A type whose validator raises what no validator should."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from pydantic_core import core_schema

        def fail(_: Any) -> Any:
            raise KeyError("not a ValueError")

        return core_schema.no_info_plain_validator_function(fail)


@handler
def plain(job: Job, a: int, b: list[str] | None = None) -> None: ...


@handler(retry_when=Unhashable())
def unhashable(a: int = 0) -> None: ...


@handler
def dated(when: datetime.datetime, price: decimal.Decimal = decimal.Decimal(1)) -> None: ...


@handler
def misspelt(a: decimal.Decimall) -> None: ...  # type: ignore[name-defined]  # the test


@handler
def unparsable(a: "1 +") -> None: ...  # type: ignore[valid-type] # noqa: F722 - the test


@handler
def schemaless(a: Schemaless) -> None: ...


@handler
def invalid(a: Invalid) -> None: ...


@handler
def loose(*, job: Job, **rest: Any) -> None: ...


@handler
def ambiguous(delay: int = 0) -> None: ...


HANDLERS: list[Any] = [
    *(plain, unhashable, dated, misspelt, unparsable, schemaless, invalid, loose, ambiguous),
    *("h", "", "x" * 256, "ü" * 128, "\ud800", "a\0b", HostileText("h")),
    *(None, 7, print, Hostile(), Hostile, lambda: None),
]
QUEUES: list[Any] = [
    *("a.b", "a", "", "A.b", "a.b.c", "\ud800.b", "a." + "b" * 500, HostileText("a.b")),
    *(None, b"a.b", 7, Hostile(), ["a.b"]),
]
SPANS: list[Any] = [
    *(0, 1, 0.5, -1, 10**400, float("nan"), float("inf"), True, None, "10m", "", "9" * 400 + "h"),
    *("1h\n", "\ud800", datetime.timedelta(1), datetime.timedelta.min, decimal.Decimal("NaN")),
    *(decimal.Decimal("sNaN"), 3j, b"5s", [], Hostile(), Colour.RED),
]
PRIORITIES: list[Any] = [*(0, 31, 32, -1, 10**5000, True, 1.0, "1", None, Hostile()), Colour.RED]
NAMES: list[Any] = [
    *("a", "b", "tenant", "", "x" * 256, "\ud800", "CC", "BCC", "cc", "x-death", "X-Delay"),
    *("longshore-attempt", "Longshore-x", "traceparent", "job", "delay"),
    *(1, None, b"a", ("a",), HostileText("n")),
]
LEAVES: list[Any] = [
    *(None, True, 0, -1, 2**31, 2**63 - 1, 2**63, 2**70, 10**5000, 0.5, float("nan"), float("inf")),
    *(
        "",
        "text",
        "\ud800",
        "x" * 40_000,
        b"bytes",
        bytearray(b"x"),
        3j,
        {1, 2},
        range(3),
        object(),
    ),
    *(decimal.Decimal("1.5"), decimal.Decimal("NaN"), decimal.Decimal("1e400"), Colour.RED),
    *(datetime.datetime(1, 1, 1), datetime.date(2026, 1, 1)),  # noqa: DTZ001 - no zone is the test
    *(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), Hostile(), HostileMapping(), Hostile),
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
]


def value(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(6)
    if depth == 0 or kind < 3:
        return dice.choice(LEAVES)
    inner = [value(dice, depth - 1) for _ in range(dice.randrange(3))]
    if kind == 3:
        return tuple(inner) if dice.random() < 0.2 else inner
    return {dice.choice([*NAMES[:8], 1, None]): each for each in inner}


def nested(dice: random.Random) -> Any:
    """Deep, endless, or many times itself."""
    made: list[Any] = [0]
    kind, deep = dice.randrange(3), dice.choice((31, 32, 33, 200, 900, 5000))
    if kind == 0:
        made.append(made)
    for _ in range(deep if kind else 0):
        # What is made of it is of no one type: that is what is tried.
        made = [made, made] if kind == 1 else [{"a": made}]
    return made


def members(dice: random.Random, *, deep: bool = False) -> Any:
    if dice.random() < 0.1:
        return dice.choice([None, [], [("a", 1)], "text", 7, HostileMapping(), Hostile()])
    count = dice.randrange(4)
    made = {
        dice.choice(NAMES): nested(dice) if deep and dice.random() < 0.1 else value(dice, 3)
        for _ in range(count)
    }
    return (
        made if dice.random() < 0.5 else {name: made[name] for name in made if name in ("a", "b")}
    )


def mostly(dice: random.Random, good: Any, odd: list[Any]) -> Any:
    return good if dice.random() < 0.7 else dice.choice(odd)


def test_enqueue_returns_an_id_or_raises_what_it_promises(
    seeds: Seeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Submission] = []
    monkeypatch.setattr(BlockingPublisher, "publish", lambda _, job, timeout: sent.append(job))
    plain_client = Client("amqp://u:p@h/")
    accepted = 0
    for seed in seeds:
        dice = random.Random(seed)
        client = plain_client
        if dice.random() < 0.1:
            client = Client("amqp://u:p@h/", trace_headers=partial(members, dice))
        try:
            job = client.send(
                mostly(dice, "a.b", QUEUES),
                mostly(dice, dice.choice(["h", plain, loose]), HANDLERS),
                mostly(dice, {"a": 1}, [members(dice)]),
                delay=mostly(dice, 0, SPANS),
                priority=mostly(dice, 0, PRIORITIES),
                expires_in=mostly(dice, None, SPANS),
                headers=members(dice, deep=True),
            )
        except EnqueueError as error:
            assert len(str(error)) < 5000  # noqa: PT017 - what it raises is what is tested
            continue
        accepted += 1
        _check(sent.pop(), job)
    assert accepted


def test_enqueue_takes_keyword_arguments_of_any_kind(
    seeds: Seeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Submission] = []
    monkeypatch.setattr(BlockingPublisher, "publish", lambda _, job, timeout: sent.append(job))
    client = Client("amqp://u:p@h/")
    for seed in seeds:
        dice = random.Random(seed)
        arguments = {name: value(dice, 3) for name in ("a", "b", "job") if dice.random() < 0.5}
        try:
            job = client.enqueue("a.b", dice.choice(HANDLERS), **arguments)
        except EnqueueError:
            continue
        _check(sent.pop(), job)


def _check(publication: Submission, job: str) -> None:
    """What was accepted can be sent, and a worker can read it and send it on."""
    encoded = b"".join(pika.BasicProperties(**publication.properties).encode())
    properties = pika.BasicProperties()
    properties.decode(encoded)
    read = message.decode(properties, publication.body, new_id=str, now=int)
    assert read.id == job
    assert isinstance(json.loads(publication.body), dict)
    assert len(encoded) < 40_000
    pika.BasicProperties(**read.properties()).encode()
