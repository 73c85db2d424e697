"""Addresses and passwords of RabbitMQ."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.core.access.endpoints import host, in_url, web_address
from longshore_operator.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The certificate authorities against which RabbitMQ's certificate is checked."""

    authority: str | None = field(default=None, repr=False)
    """Certificates in PEM format; None means those that the system trusts."""

    source: str = "the system's authorities"
    """Where they come from, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How to reach one vhost of one RabbitMQ, and as which user."""

    host: str
    port: int
    vhost: str
    management_url: str
    username: str
    password: str = field(repr=False)
    tls: Trust | None = None
    create_vhost: bool = True

    def __str__(self) -> str:
        where = f"{in_url(self.host)}:{self.port}/{self.vhost}"
        if self.tls is None:
            return where
        # A new authority must change the text, because clients must reconnect.
        digest = hashlib.sha256((self.tls.authority or "").encode()).hexdigest()
        return f"{where} tls {digest[:8]}"

    @property
    def authority(self) -> str | None:
        """The authority that clients must trust; None means the system's."""
        return self.tls.authority if self.tls else None

    def amqp_url(self, *, username: str, password: str) -> str:
        """Return the address for clients that connect as `username`."""
        scheme = "amqps" if self.tls else "amqp"
        who = f"{quote(username, safe='')}:{quote(password, safe='')}"
        where = f"{in_url(self.host)}:{self.port}"
        return f"{scheme}://{who}@{where}/{quote(self.vhost, safe='')}"


def address(
    spec: BrokerSpec, secret: Mapping[str, str], *, authority: Mapping[str, str] | None = None
) -> Address:
    """Return the address in a Broker's spec, completed from its Secret.

    `authority` is the Secret that `spec.tls.caSecretRef` names. Raises Invalid, whose message names
    the Secret and the key. The RabbitMQ Cluster Operator writes `username`, `password`, `host`,
    `port` and `connection_string`, whose scheme shows whether TLS is used.
    """
    keys = _Keys(f"Secret {spec.secret_ref.namespace}/{spec.secret_ref.name}", secret)
    username, password = keys.username(), keys.required("password")
    tls = _tls(spec, keys, authority)
    where = _host(spec, keys)
    return Address(
        host=where,
        port=spec.port or keys.port(default=5671 if tls else 5672),
        vhost=spec.vhost,
        management_url=_management_url(spec, where, tls),
        username=username,
        password=password,
        tls=tls,
        create_vhost=spec.create_vhost,
    )


def _host(spec: BrokerSpec, keys: "_Keys") -> str:
    if spec.host:
        text, field, reason = spec.host, f"spec.host: {_shown(spec.host)}", "AddressInvalid"
    else:
        text = keys.required("host", unless="spec.host is set")
        field, reason = keys.named("host"), "SecretInvalid"
    try:
        return host(text)
    except ValueError as error:
        raise Invalid(f"{field} {error}", reason=reason) from error


def _management_url(spec: BrokerSpec, where: str, tls: Trust | None) -> str:
    if not spec.management_url:
        return f"https://{in_url(where)}:15671" if tls else f"http://{in_url(where)}:15672"
    try:
        return web_address(spec.management_url)
    except ValueError as error:
        text = f"spec.managementURL: {_shown(spec.management_url)} {error}"
        raise Invalid(text, reason="AddressInvalid") from error


def _shown(address: str) -> str:
    """Return what an error may show of an address: nothing that may contain a password."""
    return "its value" if "@" in address else repr(address)


_CA_KEY = "ca.crt"


def _tls(spec: BrokerSpec, keys: "_Keys", authority: Mapping[str, str] | None) -> Trust | None:
    if spec.tls is None and not keys.values.get("connection_string", "").startswith("amqps://"):
        return None
    if spec.tls and (reference := spec.tls.ca_secret_ref):
        keys = _Keys(f"Secret {reference.namespace}/{reference.name}", authority or {})
        return Trust(authority=keys.certificates(reference.key), source=keys.named(reference.key))
    if _CA_KEY in keys.values:
        return Trust(authority=keys.certificates(_CA_KEY), source=keys.named(_CA_KEY))
    return Trust()


@dataclass(frozen=True, slots=True)
class _Keys:
    """A Secret's values; errors name the Secret and the key."""

    where: str
    values: Mapping[str, str] = field(repr=False)

    def named(self, key: str) -> str:
        return f"{self.where}, key {key!r}"

    def required(self, key: str, *, unless: str = "") -> str:
        value = self.values.get(key)
        if not value:
            how = "has no key" if value is None else "has an empty key"
            remedy = f"; it is required unless {unless}" if unless else ""
            raise Invalid(f"{self.where} {how} {key!r}{remedy}", reason="SecretIncomplete")
        if value != value.strip():
            raise Invalid(
                f"{self.named(key)} begins or ends with a space or line break; was it written "
                "with echo instead of printf?",
                reason="SecretInvalid",
            )
        if "\0" in value or "\N{REPLACEMENT CHARACTER}" in value:
            raise Invalid(
                f"{self.named(key)} is not UTF-8 text, or contains a NUL", reason="SecretInvalid"
            )
        return value

    def username(self) -> str:
        value = self.required("username")
        if ":" in value:
            raise Invalid(
                f"{self.named('username')} contains a colon, which RabbitMQ's management API does "
                "not accept in user names; create a user without one",
                reason="SecretInvalid",
            )
        return value

    def port(self, *, default: int) -> int:
        text = self.values.get("port")
        if text is None:
            return default
        # Python refuses to read a number of more than 4,300 digits.
        is_short = text.isdecimal() and len(text) <= len(str(_LAST_PORT))
        if not is_short or not 1 <= int(text) <= _LAST_PORT:
            shown = repr(text[:_SHOWN]) + (", and more" if len(text) > _SHOWN else "")
            raise Invalid(
                f"{self.named('port')} is {shown}, not a port from 1 to {_LAST_PORT}",
                reason="SecretInvalid",
            )
        return int(text)

    def certificates(self, key: str) -> str:
        value = self.values.get(key)
        if not value:
            how = "has no key" if value is None else "has an empty key"
            raise Invalid(f"{self.where} {how} {key!r}", reason="SecretIncomplete")
        if "-----BEGIN CERTIFICATE-----" not in value:
            raise Invalid(
                f"{self.named(key)} holds no certificate in PEM format", reason="SecretInvalid"
            )
        return value


_LAST_PORT = 65_535
_SHOWN = 32
"""Characters of a wrong value that a message shows."""


def password_in(amqp_url: str) -> str | None:
    """Return the password in an AMQP address; None if there is none."""
    try:
        password = urlsplit(amqp_url).password
    except ValueError:
        return None
    return None if password is None else unquote(password)


def is_password(password: str, *, password_hash: str) -> bool:
    """Return whether RabbitMQ's salted SHA-256 hash is that of `password`."""
    try:
        salted = base64.b64decode(password_hash, validate=True)
    except ValueError:
        return False
    salt, digest = salted[:4], salted[4:]
    return hashlib.sha256(salt + password.encode()).digest() == digest


def hash_password(password: str, *, salt: bytes) -> str:
    """Return the salted SHA-256 hash of `password`, as RabbitMQ stores it; `salt` has four
    bytes."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
