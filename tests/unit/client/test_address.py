"""What is wrong with an address is told without a word of it: it holds a password."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longshore import Client, InvalidAddress, InvalidJob
from longshore.amqp.address import parameters
from tests.integration import certificates

SECRET = "s3cr3tW0rd"
ESCAPED = "s3cr%33tW0rd"


@pytest.mark.parametrize(
    "url",
    [
        f"user:{SECRET}@host",
        f"{SECRET}",
        f"{SECRET}://user@host/",
        f"amqp:/user:{SECRET}@host/",
        f"http://user:{SECRET}@host/",
        f"amqp://user:{SECRET}/x@host:5672/v",
        f"amqp://user:{SECRET}#x@host/v",
        f"amqp://user:{SECRET}?x@host/v",
        f"amqp://user:{SECRET}",
        f"amqp://user:12345/{SECRET}@host/v",
        f"amqp://user:{SECRET}@host:port/",
        f"amqp://user:{SECRET}@host:99999/",
        f"amqp://user:{SECRET}@host:0/",
        f"amqp://user:{SECRET}@[::1/",
        f"amqp://user:[{SECRET}@host/",
        f"amqp://user:{SECRET}\u2100@host/",
        f"amqp://{SECRET}@host/",
        f"amqp://user:{SECRET}@host/?heartbeat={SECRET}",
        f"amqp://user:{SECRET}@host/?tcp_options={SECRET}(",
        f"amqp://user:{SECRET}@host/?{SECRET}=1",
        f"amqp://user:{SECRET}@host/?heartbeat=1&heartbeat={SECRET}",
        f"amqp://user:{ESCAPED}@host:{SECRET}/",
    ],
)
@pytest.mark.parametrize(
    "make",
    [Client, lambda url: Client.from_env({"LONGSHORE_AMQP_URL": url})],
    ids=["url", "environment"],
)
def test_an_address_that_cannot_be_read_is_not_shown(
    url: str, make: Callable[[str], Client]
) -> None:
    with pytest.raises(InvalidAddress) as caught:
        make(url)

    seen = "\n".join(_everything_said(caught.value))
    assert SECRET not in seen
    assert ESCAPED not in seen


@given(
    st.text(st.sampled_from(":/?#[]@%&=;,+ \\'\"\u2100\xe9x1"), max_size=8),
    st.sampled_from(["amqp://u:{}@h/v", "amqps://u:{}@h:1/v?{}=1", "u:{}@h", "amqp://h:{}/?a={}"]),
)
@example("/", "amqp://u:{}@h/v")
def test_whatever_a_password_holds_no_error_repeats_it(odd: str, form: str) -> None:
    password = f"{SECRET}{odd}{SECRET}"
    raised: ValueError | None = None
    try:
        parameters(form.replace("{}", password), authority=None)
    except ValueError as error:
        raised = error
    assert SECRET not in "\n".join(_everything_said(raised))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://u:p%2Fw%40x@h:5673/team%2Feu", ("h", 5673, "u", "p/w@x", "team/eu")),
        ("amqp://h", ("h", 5672, "guest", "guest", "/")),
        ("amqps://u:p@[fd00::17]/", ("fd00::17", 5671, "u", "p", "/")),
        ("amqp://u:@h/%2F", ("h", 5672, "u", "", "/")),
        ("amqp://u:p@h/v?heartbeat=7", ("h", 5672, "u", "p", "v")),
    ],
)
def test_what_is_lawful_is_read(url: str, expected: tuple[Any, ...]) -> None:
    read = parameters(url, authority=None)
    found = (read.host, read.port, read.credentials.username, read.credentials.password)
    assert (*found, read.virtual_host) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:a/b@h/v", r"write '/', '\?', '#' and '@' as %2F, %3F, %23 and %40"),
        ("u:p@h", "must begin with amqp:// or amqps://"),
        ("amqp://h/?heartbeat=soon", "one of its options cannot be read: heartbeat"),
        ("amqp://h/?hearbeat=5", "options is unknown; the known options are .*heartbeat"),
        ("amqp://u@h/", "a user without a password"),
        (None, "of type NoneType; it must be text like amqp://user:password@host:5672/vhost"),
    ],
)
def test_the_error_says_what_would_be_right(url: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parameters(url, authority=None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:p@h/team/eu", "its vhost contains a '/'; write it as %2F"),
        ("amqp://u:p@h/v/", "its vhost contains a '/'; write it as %2F"),
        ("amqp://u:p@h/%2F/x", "its vhost contains a '/'; write it as %2F"),
        ("amqp://u:p@h//", "contains a '/'; write it as %2F; for the vhost '/', write /%2F"),
        ("amqp://u:p@h/v#x", "it contains a '#'; write it as %23"),
        ("amqp://u:p@h/v?heartbeat=5#", "it contains a '#'; write it as %23"),
        ("amqp://u:p@/v", "it has no host"),
        ("amqp://u:p@:5672/v", "it has no host"),
        ("amqp:///v", "it has no host"),
        ("amqp://u:p%ff@h/v", "is not UTF-8"),
        ("amqp://u:p@h/v%e4", "is not UTF-8"),
        ("amqp://u:p\udcff@h/v", "is not UTF-8"),
        ("amqp://u:p\n@h/v", "a line break or another control character"),
        ("amqp://u:p@h/v?heartbeat=", "one of its options has no value: heartbeat"),
    ],
)
def test_no_part_of_an_address_is_dropped_or_replaced_without_a_word(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parameters(url, authority=None)


def test_the_line_break_at_the_end_of_a_file_is_no_part_of_an_address() -> None:
    assert parameters("amqp://u:p@h/v\n", authority=None).virtual_host == "v"


@pytest.mark.parametrize("zone", ["%25lo", "%lo"])
def test_the_zone_of_an_address_is_read_as_the_system_knows_it(zone: str) -> None:
    read = parameters(f"amqps://u:p@[fe80::1{zone}]/v", authority=None)

    assert read.host == "fe80::1%lo"
    assert read.ssl_options.server_hostname == "fe80::1"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://h/?heartbeat=100000", "heartbeat is not a number of seconds from 0 to 65535"),
        (f"amqp://h/{'v' * 256}", "its vhost has more than 255 bytes"),
        (f"amqp://h/{'%C3%A4' * 128}", "its vhost has more than 255 bytes"),
        (f"amqp://h/?locale={'x' * 256}", "its option locale"),
        ("amqp://h/?client_properties={'a':1.5}", "its option client_properties"),
        ("amqp://h/?tcp_options={'TCP_KEEPIDLE':'x'}", "its option tcp_options"),
    ],
)
def test_what_no_broker_could_be_told_is_a_mistake_of_the_address(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parameters(url, authority=None)

    assert parameters(f"amqp://h/{'v' * 255}?heartbeat=65535", authority=None).heartbeat == 65535


@pytest.mark.parametrize("trust", ["", "'cafile':'/no/such/file',"])
def test_an_authority_replaces_that_of_the_address_and_nothing_else(
    tmp_path: Path, trust: str
) -> None:
    folder = certificates.make(tmp_path / "tls", names="DNS:mq")
    options = (
        f"{{{trust}'server_hostname':'mq','certfile':'{folder}/server.pem',"
        f"'keyfile':'{folder}/server.key','ciphers':'ECDHE-ECDSA-AES256-GCM-SHA384'}}"
    )
    ca = (folder / "ca.pem").read_text()

    read = parameters(f"amqps://u:p@10.0.0.7/v?ssl_options={options}&heartbeat=7", authority=ca)

    assert read.ssl_options.server_hostname == "mq"
    context = read.ssl_options.context
    assert context.cert_store_stats()["x509_ca"] == 1
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" not in names
    assert read.heartbeat == 7


def test_an_authority_that_is_none_is_named_as_such() -> None:
    for url in ("amqps://h/", "amqps://h/?ssl_options={'server_hostname':'mq'}"):
        with pytest.raises(ValueError, match="authority is not a certificate in PEM"):
            parameters(url, authority="nonsense")


@pytest.mark.parametrize("timeout", ["soon", -1, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda url, timeout: Client(url, timeout=timeout),
        lambda url, timeout: Client.from_env({"LONGSHORE_AMQP_URL": url}, timeout=timeout),
    ],
    ids=["url", "environment"],
)
def test_a_mistake_beside_the_address_does_not_show_it(
    make: Callable[[str, object], Client], timeout: object
) -> None:
    with pytest.raises(InvalidJob) as caught:
        make(f"amqp://user:{SECRET}@host/", timeout)

    assert SECRET not in "\n".join(_everything_said(caught.value))


@pytest.mark.parametrize("authority", [None, ""])
def test_without_an_authority_those_of_the_system_are_trusted(authority: str | None) -> None:
    """As after a move to a public certificate, when the authority leaves the Secret."""
    read = parameters("amqps://u:p@host:5671/v", authority=authority)

    context = read.ssl_options.context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()


def _everything_said(error: BaseException | None) -> list[str]:
    """Its text, those of what hangs on it, and the variables of our frames, as reporters see."""
    said: list[str] = []
    while error is not None:
        said += [str(error), repr(error.args)]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "longshore" in frame.f_code.co_filename.rpartition("worker_image")[2]:
                said += [repr(value) for value in frame.f_locals.values()]
        error = error.__cause__ or error.__context__
    return said
