"""Addresses and passwords of RabbitMQ."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How to reach one vhost of one RabbitMQ, and as whom."""

    host: str
    port: int
    vhost: str
    management_url: str
    username: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.vhost}"

    def amqp_url(self, *, username: str, password: str) -> str:
        """The address for clients that connect as `username`."""
        who = f"{quote(username, safe='')}:{quote(password, safe='')}"
        return f"amqp://{who}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"


def address(spec: BrokerSpec, secret: Mapping[str, str]) -> Address:
    """The address in a Broker's spec, completed from its Secret. Raises Invalid."""
    where = f"Secret {spec.secret_ref.namespace}/{spec.secret_ref.name}"
    for key in ("username", "password"):
        if not secret.get(key):
            raise Invalid(f"{where} has no key {key!r}", reason="SecretIncomplete")
    host = spec.host or secret.get("host")
    if not host:
        raise Invalid(
            f"spec.host is not set and {where} has no key 'host'", reason="SecretIncomplete"
        )
    port = spec.port or secret.get("port", "5672")
    if not str(port).isdecimal():
        raise Invalid(f"{where}: port {port!r} is not a number", reason="SecretIncomplete")
    return Address(
        host=host,
        port=int(port),
        vhost=spec.vhost,
        management_url=(spec.management_url or f"http://{host}:15672").rstrip("/"),
        username=secret["username"],
        password=secret["password"],
    )


def password_in(amqp_url: str) -> str | None:
    """The password in an AMQP address."""
    try:
        password = urlsplit(amqp_url).password
    except ValueError:
        return None
    return None if password is None else unquote(password)


def is_password(password: str, *, password_hash: str) -> bool:
    """Whether RabbitMQ's salted SHA-256 hash is that of `password`."""
    try:
        salted = base64.b64decode(password_hash, validate=True)
    except ValueError:
        return False
    salt, digest = salted[:4], salted[4:]
    return hashlib.sha256(salt + password.encode()).digest() == digest


def hash_password(password: str, *, salt: bytes) -> str:
    """The salted SHA-256 hash of `password`, as RabbitMQ keeps it; `salt` has four bytes."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
