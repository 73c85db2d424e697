from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.properties.media import why_not_json


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        " application/json ",
        "application/json;",
        "application/json ; ",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; Charset="utf-8"',
        r'application/json; charset="utf\-8"',
        "application/json; charset=utf8",
        "application/json; charset=us-ascii",
        'application/json; profile="a;b=\\"c"; charset=utf-8',
        "application/json;; charset=utf-8",
    ],
)
def test_every_lawful_spelling_of_json_in_utf8_is_json(content_type: str) -> None:
    assert why_not_json(content_type) is None


@pytest.mark.parametrize(
    ("content_type", "why"),
    [
        (None, "must be 'application/json'"),
        (b"application/json\xff", "must be 'application/json'"),
        ("", "must be 'application/json'"),
        ("json", "must be 'application/json'"),
        ("application/jsonp", "must be 'application/json'"),
        ("text/json", "must be 'application/json'"),
        ("application/cloudevents+json", "must be 'application/json'"),
        ("application/json, text/plain", "parameters like"),
        ("application/json charset=utf-8", "parameters like"),
        ("application/json; charset", "parameters like"),
        ("application/json; charset=iso-8859-1", "not in another charset"),
        ("application/json; charset=UTF-16", "not in another charset"),
        ('application/json; a=b; charset="latin-1"', "not in another charset"),
    ],
)
def test_what_is_no_json_in_utf8_is_told_with_what_would_be_right(
    content_type: object, why: str
) -> None:
    assert why in (why_not_json(content_type) or "")


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(tail: str) -> None:
    why_not_json(tail)
    why_not_json(f"application/json;{tail}")
