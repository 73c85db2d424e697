from typing import Any
from uuid import UUID

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract import message
from longshore.contract.message import DeadReason, Message, Undecodable, dead_headers, decode

NOW = 1_790_000_000_000


def delivery(**properties: Any) -> pika.BasicProperties:
    given_ones = {"type": "transcode", "content_type": "application/json"}
    return pika.BasicProperties(**{**given_ones, **properties})


def read(**properties: object) -> Message:
    return decode(delivery(**properties), b"{}", new_id=lambda: "given", now=lambda: NOW)


def test_the_least_that_a_foreign_producer_may_send_is_a_job() -> None:
    least = Message(id="given", handler="transcode", body=b"{}", enqueued_at=NOW, priority=None)
    assert read() == least


@given(
    attempt=st.integers(min_value=1, max_value=2**31 - 1),
    priority=st.integers(min_value=0, max_value=31),
    expires_at=st.one_of(st.none(), st.integers(min_value=0, max_value=2**60)),
    traceparent=st.one_of(st.none(), st.text(max_size=60)),
    foreign=st.dictionaries(st.text("abc", min_size=1), st.integers(), max_size=3),
)
def test_a_job_survives_the_wire(
    attempt: int,
    priority: int,
    expires_at: int | None,
    traceparent: str | None,
    foreign: dict[str, int],
) -> None:
    job = Message(
        id="an-id",
        handler="transcode",
        body=b'{"a": 1}',
        enqueued_at=NOW,
        attempt=attempt,
        priority=priority,
        expires_at=expires_at,
        traceparent=traceparent,
        headers=foreign,
    )

    sent = pika.BasicProperties(**job.properties())
    assert decode(sent, job.body, new_id=lambda: "other", now=lambda: 0) == job


@pytest.mark.parametrize(
    ("queue", "was_delayed"),
    [("longshore.delay.00", True), ("their.queue", False), (5, False), (None, False)],
)
def test_a_job_tells_whether_it_was_delayed(queue: object, was_delayed: bool) -> None:
    assert read(headers={"x-last-death-queue": queue}).was_delayed is was_delayed


def test_deliveries_that_ended_badly_are_counted_beside_attempts() -> None:
    job = read(headers={"longshore-attempt": 2, "x-delivery-count": 3})

    assert (job.attempt, job.lost) == (2, 3)


@pytest.mark.parametrize(
    "given",
    [
        {"correlation_id": "order-7", "reply_to": "answers", "app_id": "shop"},
        {"content_encoding": "utf-8", "cluster_id": "c", "timestamp": 1000},
        {"priority": 0},
        {"priority": 9},
        {"timestamp": 2**63 - 1, "headers": {"longshore-enqueued-at": NOW}},
    ],
)
def test_properties_of_a_producer_travel_with_its_job(given: dict[str, Any]) -> None:
    job = read(**given).next_attempt()
    again = read(**job.properties()).properties()

    for name in given.keys() - {"headers"}:
        assert again[name] == given[name]


def test_a_job_without_priority_is_not_given_one() -> None:
    assert read().next_attempt().properties()["priority"] is None


@pytest.mark.parametrize(
    ("name", "value", "header"),
    [
        ("user_id", "shop", message.USER_ID),
        ("expiration", "60000", message.EXPIRATION),
        ("reply_to", "amq.rabbitmq.reply-to", message.REPLY_TO),
    ],
)
def test_properties_on_which_rabbitmq_acts_travel_as_headers(
    name: str, value: str, header: str
) -> None:
    job = read(**{name: value, "headers": {"tenant": "a"}})
    again = read(**job.properties()).properties()

    assert name not in again
    assert again["headers"][header] == value
    assert again["headers"]["tenant"] == "a"


def test_what_brokers_wrote_is_not_sent_again() -> None:
    job = read(headers={"x-death": [{}], "x-delivery-count": 1, "CC": ["b"], "tenant": "a"})

    assert job.headers == {"tenant": "a"}


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ({"type": None}, "property 'type' is missing"),
        ({"type": ""}, "property 'type' is missing"),
        ({"content_type": None}, "property 'content_type' is None"),
        ({"content_type": "application/x-python-serialize"}, "must be 'application/json'"),
        ({"content_type": "application/json; charset=latin-1"}, "in UTF-8, not in another charset"),
        ({"headers": {"longshore-attempt": "two"}}, "'longshore-attempt' is 'two'"),
        ({"headers": {"longshore-attempt": 0}}, "must be an integer from 1 to"),
        ({"headers": {"longshore-attempt": True}}, "'longshore-attempt' is True"),
        ({"headers": {"longshore-expires-at": "soon"}}, "'longshore-expires-at' is 'soon'"),
        ({"headers": {"longshore-enqueued-at": -1}}, "'longshore-enqueued-at' is -1"),
    ],
)
def test_what_is_no_job_is_refused_by_the_part_that_is_wrong(
    properties: dict[str, Any], names: str
) -> None:
    with pytest.raises(Undecodable, match=names):
        read(**properties)


def test_a_dead_letter_keeps_the_end_of_a_long_traceback() -> None:
    headers = dead_headers(
        reason=DeadReason.MAX_ATTEMPTS,
        error="e" * 5000,
        traceback="start" + "." * 20_000 + "ValueError: the cause",
        died_at=NOW,
        host="pod-1",
        queue="media.transcode",
    )

    assert headers["longshore-dead-reason"] == "max-attempts"
    assert len(headers["longshore-error"]) == message.MAX_ERROR
    assert len(headers["longshore-traceback"]) == message.MAX_TRACEBACK
    assert headers["longshore-traceback"].endswith("ValueError: the cause")


@pytest.mark.parametrize("text", ["caf\udce9.mov", "é" * 20_000, "x" + "é" * 20_000 + "x"])
def test_whatever_an_error_says_fits_the_headers_of_its_dead_letter(text: str) -> None:
    headers = dead_headers(
        reason=DeadReason.MAX_ATTEMPTS,
        error=text,
        traceback=text,
        died_at=NOW,
        host="pod-1",
        queue="media.transcode",
    )

    assert 0 < len(headers["longshore-error"].encode()) <= message.MAX_ERROR
    assert 0 < len(headers["longshore-traceback"].encode()) <= message.MAX_TRACEBACK


def test_a_header_whose_name_is_no_text_is_not_carried_along() -> None:
    assert read(headers={b"caf\xe9": 1, "tenant": "a"}).headers == {"tenant": "a"}


def test_a_dead_letter_drops_headers_that_leave_no_room_for_its_own() -> None:
    headers = {"tenant": "a", "huge": "x" * 120_000, message.ATTEMPT: 3}

    assert message.carried(headers) == {"tenant": "a", message.ATTEMPT: 3}
    assert message.carried({"tenant": "a"}) == {"tenant": "a"}


def test_a_dead_letter_keeps_headers_that_could_not_be_read() -> None:
    unread = bytes(range(256)) * 384
    headers = {message.UNDECODABLE_HEADERS: unread, "tenant": "a", "huge": "x" * 120_000}

    assert message.carried(headers) == {message.UNDECODABLE_HEADERS: unread, "tenant": "a"}
    assert message.carried({message.UNDECODABLE_HEADERS: "x" * 120_000}) == {}


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    early = message.job_id(now=NOW, entropy=b"\xff" * 10)
    late = message.job_id(now=NOW + 1, entropy=b"\x00" * 10)

    assert UUID(early).version == 7
    assert UUID(early).variant == "specified in RFC 4122"
    assert early < late


def test_an_id_needs_its_ten_bytes() -> None:
    with pytest.raises(ValueError, match="needs 10"):
        message.job_id(now=NOW, entropy=b"short")
