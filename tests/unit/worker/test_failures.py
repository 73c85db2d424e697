"""What a child makes of how a job ended."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.errors import Discard, Retry, Snooze
from longshore.worker.child.failures import Ending, Failure, ending_of, judged, leaf
from longshore.worker.wire.frames import Status


class Busy(Retry):
    def __init__(self, after: Any) -> None:
        super().__init__("busy")
        self.after = after


class Later(Snooze):
    def __init__(self, delay: Any) -> None:
        super().__init__(0, "later")
        self.delay = delay


@pytest.mark.parametrize(
    ("wish", "seconds"), [(0, 0.0), (2, 2.0), (1.5, 1.5), ("90s", 90.0), (True, 1.0)]
)
def test_a_delay_of_a_subclass_is_read_as_that_of_its_parent(wish: object, seconds: float) -> None:
    for error, status in ((Busy(wish), Status.FAILED), (Later(wish), Status.SNOOZED)):
        ending = ending_of(Failure(error))
        assert (ending.status, ending.delay) == (status, seconds)
        assert isinstance(ending.delay, float)


def test_a_retry_without_a_delay_leaves_it_to_the_policy() -> None:
    ending = ending_of(Failure(Busy(None)))
    assert (ending.status, ending.error, ending.delay) == (Status.FAILED, "Busy: busy", None)


@pytest.mark.parametrize(
    "wish", ["30", b"30", [30], -1, float("nan"), float("inf"), 10**400, object()]
)
@pytest.mark.parametrize("kind", [Busy, Later])
def test_what_is_no_delay_fails_the_attempt_and_is_named(
    kind: type[Busy] | type[Later], wish: object
) -> None:
    ending = ending_of(Failure(kind(wish)))
    assert (ending.status, ending.delay) == (Status.FAILED, None)
    assert ending.error is not None
    assert "its delay cannot be used: " in ending.error
    if wish != 10**400:
        assert repr(wish) in ending.error


def test_a_snooze_needs_a_delay() -> None:
    assert ending_of(Failure(Later(None))).status is Status.FAILED


class Options:
    def __init__(self, **options: Any) -> None:
        self.throws: tuple[type[Exception], ...] = options.get("throws", ())
        self.retry_when = options.get("retry_when")


def raising(what: BaseException) -> Any:
    def method(*_: object) -> Any:
        raise what

    return method


class Bad(Exception):
    pass


def hostile(base: type[BaseException]) -> list[BaseException]:
    """Exceptions of type `base` that defend themselves against being described."""
    members: list[dict[str, Any]] = [
        {"__str__": raising(RuntimeError("no"))},
        {"__str__": raising(SystemExit(3))},
        {"__str__": lambda _: 42},
        {"__str__": lambda self: self.reason},
        {"__repr__": raising(KeyboardInterrupt())},
        {"__class__": property(raising(RuntimeError("no")))},
        {"__notes__": property(raising(RuntimeError("no")))},
        {"__cause__": property(raising(RuntimeError("no")))},
        {"__traceback__": property(raising(RuntimeError("no")))},
        {"__eq__": raising(RuntimeError("no")), "__hash__": raising(RuntimeError("no"))},
    ]
    return [type("Hostile", (base,), each)("x") for each in members]


def outcome(error: BaseException, **options: Any) -> Ending:
    return ending_of(judged(error, Options(**options)))


@pytest.mark.parametrize("number", range(10))
def test_the_type_decides_whatever_an_exception_does_when_it_is_described(number: int) -> None:
    throws = (Bad,)
    discarded = outcome(hostile(Discard)[number])
    assert discarded.status is Status.DISCARDED
    assert discarded.error is not None
    assert discarded.error.startswith("Hostile")
    expected = outcome(hostile(Bad)[number], throws=throws)
    assert expected.status is Status.EXPECTED
    final = outcome(hostile(Bad)[number], retry_when=lambda _: False)
    assert final.status is Status.NOT_RETRYABLE
    assert outcome(hostile(KeyError)[number]).status is Status.FAILED
    assert ending_of(Failure(hostile(BaseException)[number])).status is Status.FAILED


def test_an_exception_without_a_text_is_told_by_its_name() -> None:
    assert outcome(hostile(KeyError)[0]).error == "Hostile: <exception str() failed>"
    assert outcome(KeyError()).error == "KeyError"


def test_a_traceback_that_cannot_be_formatted_still_names_the_place() -> None:
    try:
        raise hostile(KeyError)[7]
    except KeyError as error:
        told = outcome(error).traceback
    assert told is not None
    assert "raise hostile(KeyError)[7]" in told


def test_text_of_a_subclass_of_str_is_plain_text() -> None:
    class Odd(str):
        __slots__ = ()

        def __format__(self, _: str) -> str:
            raise RuntimeError

    error = outcome(type("Told", (Exception,), {"__str__": lambda _: Odd("words")})()).error
    assert error == "Told: words"
    assert type(error) is str


@pytest.mark.parametrize(
    ("error", "status", "delay"),
    [
        (Discard("no"), Status.DISCARDED, None),
        (Retry(after=7), Status.FAILED, 7.0),
        (Snooze(7), Status.SNOOZED, 7.0),
        (Bad(), Status.EXPECTED, None),
        (ValueError("x"), Status.FAILED, None),
    ],
)
def test_a_group_of_one_is_what_it_holds(
    error: Exception, status: Status, delay: float | None
) -> None:
    nested = ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    ending = outcome(leaf(nested), throws=(Bad,))
    assert (ending.status, ending.delay) == (status, delay)
    assert ending.error == outcome(error, throws=(Bad,)).error


def test_a_group_of_several_is_a_failure() -> None:
    both = ExceptionGroup("both", [Discard("no"), ValueError("x")])
    assert leaf(both) is both
    assert outcome(both).status is Status.FAILED


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_group_of_one_that_no_handler_should_catch_is_a_failed_attempt(
    error: BaseException,
) -> None:
    assert ending_of(Failure(BaseExceptionGroup("one", [error]))).status is Status.FAILED
