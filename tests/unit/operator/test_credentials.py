import base64
import hashlib
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.core.credentials import address, is_password, password_in
from longshore_operator.errors import Invalid

SECRET = {"username": "admin", "password": "p/w@:"}


def spec(**parts: Any) -> BrokerSpec:
    reference = {"name": "rabbit", "namespace": "mq"}
    return BrokerSpec.model_validate({"secretRef": reference, "host": "rabbit.mq", **parts})


def test_what_the_spec_leaves_out_comes_from_the_secret() -> None:
    found = address(spec(host=None), SECRET | {"host": "from-secret", "port": "5673"})

    assert (found.host, found.port) == ("from-secret", 5673)
    assert found.management_url == "http://from-secret:15672"


def test_the_spec_wins_over_the_secret() -> None:
    found = address(spec(port=1, managementURL="https://m/"), SECRET | {"host": "x", "port": "2"})

    assert (found.host, found.port, found.management_url) == ("rabbit.mq", 1, "https://m")


@pytest.mark.parametrize(
    ("parts", "secret", "words"),
    [
        ({}, {"username": "a"}, "mq/rabbit has no key 'password'"),
        ({"host": None}, SECRET, "has no key 'host'"),
        ({}, SECRET | {"port": "amqp"}, "port 'amqp' is not a number"),
    ],
)
def test_what_is_missing_is_named(
    parts: dict[str, Any], secret: dict[str, str], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        address(spec(**parts), secret)


def test_an_amqp_url_survives_odd_characters() -> None:
    url = address(spec(vhost="a/b"), SECRET).amqp_url(username="v.ns.q", password="p/w@:")

    assert password_in(url) == "p/w@:"
    assert unquote(urlsplit(url).path[1:]) == "a/b"


def test_a_password_is_known_by_rabbitmqs_hash() -> None:
    salt = b"\x01\x02\x03\x04"
    hashed = base64.b64encode(salt + hashlib.sha256(salt + b"right").digest()).decode()

    assert is_password("right", password_hash=hashed)
    assert not is_password("wrong", password_hash=hashed)
    assert not is_password("right", password_hash="not base64!")


def test_a_password_is_not_shown() -> None:
    assert "p/w@:" not in repr(address(spec(), SECRET))
