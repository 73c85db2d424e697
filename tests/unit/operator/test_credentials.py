import base64
import hashlib
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.core.access.credentials import address, is_password, password_in
from longshore_operator.errors import Invalid

CA = {"namespace": "mq", "name": "ca", "key": "root.pem"}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CLUSTER_OPERATOR = {
    "username": "default_user_a",
    "password": "b",
    "default_user.conf": "default_user = default_user_a\ndefault_pass = b\n",
    "provider": "rabbitmq",
    "type": "rabbitmq",
    "host": "jobs.mq.svc",
    "port": "5671",
    "connection_string": "amqps://default_user_a:b@jobs.mq.svc:5671/",
}
"""What the RabbitMQ Cluster Operator writes where TLS is on."""

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
        ({}, SECRET | {"password": ""}, "mq/rabbit has an empty key 'password'"),
        ({}, SECRET | {"password": "p\n"}, "mq/rabbit, key 'password' begins or ends with"),
        ({}, SECRET | {"port": "amqp"}, "mq/rabbit, key 'port' is 'amqp', not a port"),
        ({}, SECRET | {"port": "0"}, "key 'port' is '0', not a port from 1 to 65535"),
        ({"tls": {}}, SECRET | {"ca.crt": "no"}, "key 'ca.crt' holds no certificate"),
        ({}, SECRET | {"username": "team:a"}, "mq/rabbit, key 'username' contains a colon"),
        ({}, SECRET | {"password": "a\0b"}, "key 'password' is not UTF-8 text"),
        ({}, SECRET | {"password": "\N{REPLACEMENT CHARACTER}"}, "'password' is not UTF-8 text"),
        ({"host": None}, SECRET | {"host": "amqp://h"}, "key 'host' is neither"),
        ({"host": None}, SECRET | {"host": "h:5672"}, "key 'host' is neither .* `port`"),
        ({"tls": {"caSecretRef": CA}}, SECRET, "Secret mq/ca has no key 'root.pem'"),
    ],
)
def test_what_is_missing_is_named(
    parts: dict[str, Any], secret: dict[str, str], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        address(spec(**parts), secret)


def test_the_cluster_operators_secret_is_enough() -> None:
    found = address(spec(host=None), CLUSTER_OPERATOR)

    assert (found.host, found.port, found.username) == ("jobs.mq.svc", 5671, "default_user_a")
    assert found.management_url == "https://jobs.mq.svc:15671"
    assert found.amqp_url(username="u", password="p").startswith("amqps://u:p@jobs.mq.svc:5671/")


@pytest.mark.parametrize(
    ("parts", "secret", "source"),
    [
        ({"tls": {}}, SECRET, "the system's authorities"),
        ({"tls": {}}, SECRET | {"ca.crt": PEM}, "Secret mq/rabbit, key 'ca.crt'"),
        (
            {"tls": {"caSecretRef": CA}},
            SECRET | {"ca.crt": "not looked at"},
            "Secret mq/ca, key 'root.pem'",
        ),
    ],
)
def test_whom_tls_trusts(parts: dict[str, Any], secret: dict[str, str], source: str) -> None:
    found = address(spec(**parts), secret, authority={"root.pem": PEM})

    assert found.tls
    assert found.tls.source == source
    assert found.authority == (PEM if "Secret" in source else None)
    assert found.port == 5671


def test_without_tls_no_authority_is_passed_on() -> None:
    assert address(spec(), SECRET | {"ca.crt": PEM}).authority is None


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


@pytest.mark.parametrize("host", ["fd00::17", "[fd00::17]", "::1", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("tls", [None, {}])
def test_an_ipv6_address_stands_in_brackets_in_urls_and_without_elsewhere(
    host: str, tls: dict[str, Any] | None
) -> None:
    bare = host.strip("[]")
    for found in (
        address(spec(host=host, tls=tls), SECRET),
        address(spec(host=None, tls=tls), SECRET | {"host": host}),
    ):
        assert found.host == bare
        for url in (found.management_url, found.amqp_url(username="u", password="p")):
            assert urlsplit(url).hostname == bare
            assert urlsplit(url).port
        assert str(found).startswith(f"[{bare}]:")


@pytest.mark.parametrize(
    "host",
    ["a b", "h/x", "u@h", "h?", "h#", "[h]", "fd00::17::1", "fe80::1%eth0", "[::1]:5672", "\n"],
)
def test_a_host_that_is_none_is_refused_by_its_field(host: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.host") as refused:
        address(spec(host=host), SECRET)

    assert refused.value.reason == "AddressInvalid"
    assert repr(host) in str(refused.value) or "@" in host


@pytest.mark.parametrize(
    "url",
    [
        "http://fd00::17:15672",
        "http://h:port",
        "http://h:99999",
        "http://u:p@h:15672",
        "http://h:15672?x=1",
        "http://h:15672#x",
        "http://h:15672/#",
        "http://h:15672/?",
        "http://a b",
        "http://[fd00::17",
        "http://:15672",
    ],
)
def test_a_management_address_that_is_none_is_refused_by_its_field(url: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.managementURL") as refused:
        address(spec(managementURL=url), SECRET)

    assert refused.value.reason == "AddressInvalid"


@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "5672.0", "9" * 5000, "\u0665" * 4000, "\u00b2", ""]
)
def test_a_port_that_is_none_is_refused_by_its_key(port: str) -> None:
    with pytest.raises(Invalid, match="key 'port'") as refused:
        address(spec(), SECRET | {"port": port})

    assert refused.value.reason == "SecretInvalid"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "url", ["http://m:15672", "https://m", "http://[fd00::17]:15672", "http://proxy/rabbit/a"]
)
def test_a_management_address_is_taken_as_it_is(url: str) -> None:
    assert address(spec(managementURL=f"{url}/"), SECRET).management_url == url


@pytest.mark.parametrize(
    ("parts", "secret"),
    [
        ({}, SECRET | {"username": "admin:hunter2"}),
        ({"host": None}, SECRET | {"host": "amqp://admin:hunter2@rabbit.mq:5672"}),
        ({"host": "admin:hunter2@rabbit.mq"}, SECRET),
        ({"managementURL": "http://admin:hunter2@rabbit.mq:15672"}, SECRET),
        ({"managementURL": "http://admin:hunter2@rabbit.mq:port"}, SECRET),
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(
    parts: dict[str, Any], secret: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as refused:
        address(spec(**parts), secret)

    assert "hunter2" not in str(refused.value)
