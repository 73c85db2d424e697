"""Client before it connects."""

from __future__ import annotations

import subprocess
import sys

import pytest

from longshore import Client, InvalidAddress, InvalidJob


def test_importing_longshore_does_not_import_pika() -> None:
    code = (
        "import sys, longshore; print('pika' in sys.modules);"
        "longshore.Client; print('pika' in sys.modules)"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("first", ["", "import longshore.handler", "import longshore.client"])
def test_the_decorator_is_the_decorator_whatever_was_imported_before(first: str) -> None:
    code = f"{first}\nfrom longshore import handler\nprint(type(handler).__name__)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "function"


@pytest.mark.parametrize("url", ["", "rabbitmq:5672", "http://user:secret@host/", "amqp://h:port/"])
def test_an_address_that_is_none_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        Client(url)

    assert "secret" not in str(caught.value)


def test_an_environment_without_address_says_where_it_comes_from() -> None:
    with pytest.raises(InvalidAddress, match=r"LONGSHORE_AMQP_URL is not set.*NAME-producer"):
        Client.from_env({})


def test_a_timeout_must_be_a_length_of_time() -> None:
    with pytest.raises(InvalidJob, match="timeout"):
        Client("amqp://localhost", timeout="soon")


def test_making_and_closing_a_client_connects_to_nothing() -> None:
    with Client.from_env({"LONGSHORE_AMQP_URL": "amqp://no-such-host.invalid/"}):
        pass


def test_an_invalid_job_is_refused_before_connecting() -> None:
    with (
        Client("amqp://no-such-host.invalid/") as client,
        pytest.raises(InvalidJob, match="priority"),
    ):
        client.enqueue("media.transcode", "transcode", priority=99)
