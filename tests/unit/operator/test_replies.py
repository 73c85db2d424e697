import base64

import pytest

from longshore_operator.core.access.replies import is_reply_address

PREFIX = "amq.rabbitmq.reply-to"
KEY = "b4Ff5VFaIyo6lexV5Dn2+g=="
NUMBERS = bytes(12)


def address(process: bytes, *, key: str = KEY) -> str:
    return f"{PREFIX}.{base64.b64encode(process).decode()}.{key}"


@pytest.mark.parametrize(
    "given",
    [
        f"{PREFIX}.g1h2AA5yZXBseUA2ODEzNDc3MgAAA20AAAAAawHV6w==.ObV+yNkn6x4KoTdWXjniMA==",
        f"{PREFIX}.g1h2AA5yZXBseUA2NzkzODE2NAAAw3kAAAAAawHV6w==.b4Ff5VFaIyo6lexV5Dn2+g==",
        address(b"\x83Xv\x00\x07reply@1" + NUMBERS),
        address(b"\x83Xv\x00\x07reply@1" + b"1\n" * 6),
    ],
    ids=["as 4.0.5 writes it", "as 4.3.6 writes it", "a short node", "digits and line breaks"],
)
def test_an_address_of_rabbitmqs_is_one(given: str) -> None:
    assert is_reply_address(given)


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"\xff",
        "",
        "billing.invoice",
        PREFIX,
        f"{PREFIX}.",
        f"{PREFIX}.x.y",
        f"{PREFIX}.billing.invoice",
        f"{PREFIX}.A.{KEY}",
        f"{PREFIX}.A=.{KEY}",
        "x" + address(b"\x83Xv\x00\x07reply@1" + NUMBERS),
        address(b"\x83Xv\x00\x07reply@1" + NUMBERS) + "\n",
        address(b"\x83Xv\x00\x07reply@1" + NUMBERS, key="short"),
        address(b"\x83Xv\x00\x07reply@1" + NUMBERS, key=f"{KEY}.{KEY}"),
        address(b"\x83Xv\x00\x08reply@1" + NUMBERS),
        address(b"\x83Xv\x00\x07reply@1" + NUMBERS[1:]),
        address(b"\x83Xv\x00\x08rabbit@1" + NUMBERS),
        address(b"\x83a\x01"),
        address(b""),
    ],
)
def test_nothing_else_is_one(given: object) -> None:
    assert not is_reply_address(given)
