"""What Client makes of a producer's words, and what it refuses before anything is sent."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore import InvalidJob, Job, handler
from longshore.contract import delays
from longshore.producing.submission import Submission, prepare, refuse_ambiguous

QUEUE = "media.transcode"
NOW = 1_700_000_000_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@handler
def transcode(job: Job, source: str, preset: str = "h264") -> None:
    """A handler."""


@handler(name="second")
def with_delay(delay: float, priority: int = 0) -> None:
    """A handler with parameters named as options of enqueue."""


def submit(
    handler: Any = "transcode", arguments: dict[Any, Any] | None = None, **changes: Any
) -> Submission:
    options = {"delay": 0, "priority": 0, "expires_in": None, "headers": {}} | changes
    queue = options.pop("queue", QUEUE)
    return prepare(queue, handler, arguments or {}, now=NOW, entropy=b"0123456789", **options)


def test_a_job_without_delay_goes_to_the_jobs_exchange() -> None:
    made = submit(transcode, {"source": "s3://in", "preset": "ü"})

    assert (made.exchange, made.key) == ("longshore.jobs", QUEUE)
    assert json.loads(made.body) == {"source": "s3://in", "preset": "ü"}
    assert made.properties["type"] == "transcode"
    assert made.properties["headers"] == {"longshore-attempt": 1, "longshore-enqueued-at": NOW}


@pytest.mark.parametrize(
    ("delay", "seconds"), [(600, 600), ("10m", 600), (timedelta(minutes=10), 600), (0.2, 1)]
)
def test_a_delay_goes_to_the_top_of_the_ladder(delay: Any, seconds: int) -> None:
    made = submit(delay=delay)

    assert (made.exchange, made.key) == delays.route(QUEUE, delay=seconds)


def test_a_trace_context_goes_where_the_wire_format_says() -> None:
    made = submit(headers={"traceparent": TRACE, "tracestate": "a=b"})

    assert made.properties["headers"]["traceparent"] == TRACE
    assert made.properties["headers"]["tracestate"] == "a=b"


@pytest.mark.parametrize("nonsense", ["", "00-4bf9-00f0-01", TRACE.upper(), 7, None])
def test_a_trace_context_that_nobody_could_read_is_refused(nonsense: object) -> None:
    with pytest.raises(InvalidJob, match=r"'traceparent' is .*VERSION-TRACE-SPAN-FLAGS"):
        submit(headers={"traceparent": nonsense})


def test_an_expiry_counts_from_now() -> None:
    made = submit(expires_in="1h", delay="10m")

    assert made.properties["headers"]["longshore-expires-at"] == NOW + 3_600_000


def test_own_headers_travel_along() -> None:
    made = submit(headers={"tenant": "a"})

    assert made.properties["headers"]["tenant"] == "a"


class Names(str, enum.Enum):  # noqa: UP042 - unlike a StrEnum, it is not formatted as its value
    QUEUE = QUEUE
    TRANSCODE = "transcode"
    TENANT = "tenant"
    TRACEPARENT = "traceparent"
    TRACE = TRACE


@pytest.mark.parametrize("delay", [0, 10])
def test_text_that_is_a_member_of_an_enum_goes_where_its_value_says(delay: int) -> None:
    given = submit(
        Names.TRANSCODE,
        queue=Names.QUEUE,
        delay=delay,
        headers={Names.TENANT: "a", Names.TRACEPARENT: Names.TRACE},
    )
    plain = submit(
        "transcode", queue=QUEUE, delay=delay, headers={"tenant": "a", "traceparent": TRACE}
    )

    assert given == plain
    texts = (given.queue, given.key, given.properties["type"], *given.properties["headers"])
    assert {type(text) for text in texts} == {str}
    assert QUEUE in str(given)


def test_a_handler_named_by_a_member_of_an_enum_is_called_by_its_value() -> None:
    @handler(name=Names.TRANSCODE)
    def function() -> None: ...

    assert f"{submit(function).properties['type']}" == "transcode"


@pytest.mark.parametrize(
    ("delay", "expires_in"), [(0.5, 0.9), (10.2, 10.9), (1, 1.0004), (0, 0.0004), ("1ms", "1s")]
)
def test_a_job_that_would_expire_before_its_delay_is_over_is_refused(
    delay: Any, expires_in: Any
) -> None:
    with pytest.raises(InvalidJob, match="rounded up to whole seconds: the job would never start"):
        submit(delay=delay, expires_in=expires_in)


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ({1: "a", "1": "b"}, "1 and '1'"),
        ([{"x": ({None: 1, "null": 2},)}], "None and 'null'"),
        ({True: 1, "true": 2}, "True and 'true'"),
    ],
)
def test_no_entry_of_a_mapping_is_lost_because_json_writes_two_keys_alike(
    value: Any, pair: str
) -> None:
    with pytest.raises(InvalidJob, match=rf"'table' has the keys {pair} in one mapping"):
        submit("transcode", {"table": value})

    assert json.loads(submit("transcode", {"table": {1: "a", "2": "b"}}).body) == {
        "table": {"1": "a", "2": "b"}
    }


def test_jobs_without_arguments_have_an_empty_object() -> None:
    assert submit().body == b"{}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": "transcode"}, ["'transcode'", "NAMESPACE.NAME"]),
        ({"queue": "Media.x"}, ["'Media'", "lower-case"]),
        ({"queue": "a.b.c"}, ["'b.c'"]),
        ({"priority": 32}, ["priority is 32", "0 to 31"]),
        ({"priority": True}, ["priority is True"]),
        ({"priority": "high"}, ["'high'", "whole number"]),
        ({"delay": -1}, ["delay is -1"]),
        ({"delay": "soon"}, ["delay", "'soon'", "90s"]),
        ({"delay": float("nan")}, ["delay is nan"]),
        ({"delay": None}, ["delay", "None"]),
        ({"delay": timedelta(days=4000)}, ["delay is", str(delays.MAX_DELAY)]),
        ({"delay": delays.MAX_DELAY + 0.5}, ["delay is", str(delays.MAX_DELAY)]),
        ({"expires_in": 10, "delay": 20}, ["expires_in (10 s)", "delay (20 s)", "never start"]),
        ({"expires_in": 0}, ["expires_in"]),
        ({"headers": {"longshore-attempt": 9}}, ["'longshore-attempt'"]),
        ({"headers": {"x-death": 9}}, ["'x-death'"]),
        ({"headers": [("a", 1)]}, ["headers is [('a', 1)]", "mapping"]),
        ({"headers": {"n": 2**70}}, ["'n'", "AMQP cannot carry"]),
        ({"queue": None}, ["queue is None", "NAMESPACE.NAME"]),
        ({"queue": "a.\ud800"}, ["NAMESPACE.NAME"]),
        ({"priority": 10**5000}, ["priority is <int>", "0 to 31"]),
        ({"delay": 10**400}, ["delay", "too large"]),
        ({"handler": "\ud800"}, ["handler '\\ud800'", "UTF-8"]),
        ({"arguments": [1]}, ["arguments is [1]", "mapping"]),
        ({"headers": {"when": object()}}, ["'when'", "AMQP"]),
        ({"headers": {"a": "x" * 20_000, "b": "x" * 20_000}}, ["headers", "32768"]),
        ({"handler": ""}, ["handler ''"]),
        ({"handler": "x" * 256}, ["255 bytes"]),
        ({"handler": print}, ["print", "@handler"]),
    ],
)
def test_a_mistake_is_named_with_its_value(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidJob) as caught:
        submit(**options)

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": datetime.now(UTC)}, ["'source'", "datetime", "JSON"]),
        ({"source": "s", "preset": float("inf")}, ["'preset'", "JSON"]),
        ({"source": "s", "preset": "\ud800"}, ["'preset'", "JSON"]),
        ({"source": {1, 2}}, ["'source'", "set"]),
        ({1: "x"}, ["argument 1", "string"]),
    ],
)
def test_what_json_cannot_say_is_named(arguments: dict[Any, Any], words: list[str]) -> None:
    with pytest.raises(InvalidJob) as caught:
        submit("transcode", arguments)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_loop_of_references_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InvalidJob, match="'source'"):
        submit("transcode", {"source": loop})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "source"),
        ({"source": "s", "sorce": "s"}, "sorce"),
        ({"source": 7}, "source"),
        ({"source": "s", "job": "x"}, "job"),
    ],
    ids=["missing", "misspelt", "wrong type", "the job itself"],
)
def test_a_handler_function_checks_its_arguments(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidJob, match=rf"handler 'transcode': {named}"):
        submit(transcode, arguments)


def test_a_handler_given_by_name_takes_any_arguments() -> None:
    assert json.loads(submit("transcode", {"sorce": 7}).body) == {"sorce": 7}


def test_a_parameter_named_as_an_option_is_pointed_to_send() -> None:
    with pytest.raises(InvalidJob, match=r"'second'.*'delay'.*send\("):
        refuse_ambiguous(with_delay)

    assert json.loads(submit(with_delay, {"delay": 3.5}).body) == {"delay": 3.5}


def test_handlers_without_such_a_parameter_are_clear() -> None:
    refuse_ambiguous(transcode)
    refuse_ambiguous("second")


def test_a_handler_whose_options_have_no_hash_is_enqueued_as_any_other() -> None:
    @dataclass
    class Transient:
        codes: tuple[int, ...] = (1,)

        def __call__(self, error: Exception) -> bool:
            return True

    @handler(retry_when=Transient())
    def fine(x: int) -> None: ...

    assert json.loads(submit(fine, {"x": 1}).body) == {"x": 1}


def test_a_deep_header_is_refused_before_a_worker_has_to_read_it() -> None:
    deep: Any = {}
    for _ in range(2000):
        deep = {"a": deep}

    with pytest.raises(
        InvalidJob, match=r"header 'deep' is nested too deeply or too large: at most 32 levels"
    ):
        submit(headers={"deep": deep})


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("value", [["media.other"], "bob@example.org"])
def test_a_header_that_routes_to_other_queues_is_refused(header: str, value: object) -> None:
    with pytest.raises(InvalidJob, match=rf"header '{header}' is reserved: RabbitMQ would route"):
        submit(headers={header: value})


def test_headers_that_only_look_like_rabbitmqs_are_the_producers() -> None:
    made = submit(headers={"cc": "bob@example.org", "Bcc": 1})

    assert made.properties["headers"]["cc"] == "bob@example.org"


def test_an_annotation_that_cannot_be_read_is_the_jobs_mistake() -> None:
    @handler
    def misspelt(x: json.Jason) -> None: ...  # type: ignore[name-defined]  # the test

    @handler
    def unparsable(x: "1 +") -> None: ...  # type: ignore[valid-type] # noqa: F722 - the test

    for function in (misspelt, unparsable):
        with pytest.raises(InvalidJob, match="annotation of parameter 'x'"):
            submit(function, {"x": 1})
