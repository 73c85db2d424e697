"""RabbitMQ's address, with the certificate authority to trust, as pika needs them.

An address contains a password. No error of this module repeats any part of an address, not even its
port: in `amqp://user:s3cret/x@host`, the password stands where the port is expected.
"""

import ast
import re
import socket
import ssl
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import pika
from pika.spec import Connection
from pika.tcp_socket_opts import set_sock_opts

Parameters = pika.connection.Parameters
"""How to connect to a broker."""

FORM = "amqp://user:password@host:5672/vhost"
"""The form of an address, for errors."""


def parameters(url: str, *, authority: str | None) -> pika.URLParameters:
    """Return how to connect to `url`, `amqp://…` or `amqps://…`.

    `authority` is the PEM text of the certificates to trust. Without it, those in the address's own
    `ssl_options` are trusted, or else the system's. Raises ValueError for an address that cannot be
    read or that AMQP cannot transmit. Neither the message nor the error itself holds a password.
    """
    problem = _problem(url)
    found = None
    if problem is None:
        try:
            found = _read(url, authority)
        except _NoAuthority as error:
            problem = str(error)
        except Exception:  # ValueError, but also SyntaxError and others from its options
            problem = _unreadable(url)
        else:
            problem = _unspeakable(found)
    if found is None or problem is not None:
        del url, authority, found  # error reporters record the variables of each frame
        raise ValueError(problem)
    return found


def _read(url: str, authority: str | None) -> pika.URLParameters:
    found = pika.URLParameters(_trusting(url, authority) if authority else url)
    if authority and found.ssl_options and _TLS not in dict(_options(urlsplit(url))):
        found.ssl_options = pika.SSLOptions(_context(authority))
    if zone := re.fullmatch(r"([^%]*:[^%]*)%(?:25)?(.+)", found.host):  # RFC 6874
        found.host = f"{zone[1]}%{zone[2]}"
        if found.ssl_options and not found.ssl_options.server_hostname:
            # A certificate never names a zone.
            found.ssl_options = pika.SSLOptions(found.ssl_options.context, zone[1])
    return found


def _trusting(url: str, authority: str) -> str:
    """Return `url` with `authority` in place of what its `ssl_options` trust."""
    parts = urlsplit(url)
    options = _options(parts)
    tls = ast.literal_eval(dict(options).get(_TLS, "None"))
    if not isinstance(tls, dict):
        return url
    _context(authority)
    kept = {name: value for name, value in tls.items() if name not in _TRUSTED}
    trusting = repr({**kept, "cadata": authority})
    options = [(name, trusting if name == _TLS else value) for name, value in options]
    return parts._replace(query=urlencode(options)).geturl()


_TLS = "ssl_options"
_TRUSTED = frozenset({"ca_certs", "cafile", "ca_path", "capath", "ca_data", "cadata"})
"""pika's names for authorities among its `ssl_options`."""


def _options(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)


class _NoAuthority(ValueError):
    """The text that should be a certificate authority is not one."""


def _context(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError, TypeError) as error:
        said = getattr(error, "reason", None) or str(error)
        raise _NoAuthority(
            f"its certificate authority is not a certificate in PEM format: {said}"
        ) from None


def _problem(url: object) -> str | None:
    """Return what is wrong with the parts of `url`, without repeating them."""
    if not isinstance(url, str):
        return f"it is of type {type(url).__name__}; it must be text like {FORM}"
    if not url.lower().startswith(("amqp://", "amqps://")):
        return f"it must begin with amqp:// or amqps://, like {FORM}"
    place, _, rest = _split(url)
    if "@" in rest:
        return (
            "there is an '@' after the host; in user, password and vhost, write '/', '?', '#' and "
            "'@' as %2F, %3F, %23 and %40"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (
            "its host or port cannot be read; a port is a number up to 65535, an IPv6 address "
            "must be in brackets, and in user and password '/', '?', '#', '[' and ']' must be "
            "written as %2F, %3F, %23, %5B and %5D"
        )
    if "@" in place and parts.password is None:
        return f"it has a user without a password; it must look like {FORM}"
    if port == 0:
        return "its port is 0; a port is a number from 1 to 65535"
    if not parts.hostname:
        return f"it has no host; it must look like {FORM}"
    return _lost(url, parts)


def _lost(url: str, parts: SplitResult) -> str | None:
    """Return which part of `url` would be left out or replaced silently."""
    if "#" in url:
        return "it contains a '#'; write it as %23"
    if "/" in parts.path[1:]:
        return "its vhost contains a '/'; write it as %2F; for the vhost '/', write /%2F or nothing"
    if re.search(r"[\x00-\x1f\x7f]", url.rstrip("\r\n")):  # files end with a line break
        return "it contains a line break or another control character; write it as %0A or similar"
    try:
        for part in (parts.netloc, parts.path):
            unquote(part, errors="strict").encode()
    except UnicodeError:
        return "user, password, host or vhost is not UTF-8; write each byte of UTF-8 as %XX"
    if valueless := sorted({name for name, value in _options(parts) if not value} & _known()):
        return f"one of its options has no value: {', '.join(valueless)}"
    return None


def _split(url: str) -> tuple[str, str, str]:
    """Return the authority of `url` (user to port), the character that ends it, and the rest."""
    after = url.partition("://")[2]
    ends = [position for mark in "/?#" if (position := after.find(mark)) >= 0]
    end = min(ends, default=len(after))
    return after[:end], after[end : end + 1], after[end + 1 :]


def _unreadable(url: str) -> str:
    names = {name for name, _ in _options(urlsplit(url))}
    if named := sorted(names & _known()):
        return f"one of its options cannot be read: {', '.join(named)}"
    return f"one of its options is unknown; the known options are {', '.join(sorted(_known()))}"


def _known() -> set[str]:
    return {name.removeprefix(_OPTION) for name in dir(pika.URLParameters) if _OPTION in name}


_OPTION = "_set_url_"


def _unspeakable(found: pika.URLParameters) -> str | None:
    """Return what AMQP or the system cannot accept in `found`. Checked once, not for each job."""
    said: list[tuple[str, Callable[[], object]]] = [
        ("its vhost has more than 255 bytes", Connection.Open(found.virtual_host).encode),
        (
            "its option heartbeat is not a number of seconds from 0 to 65535",
            Connection.TuneOk(heartbeat=found.heartbeat or 0).encode,
        ),
        (
            "its option locale has more than 255 bytes",
            Connection.StartOk({}, "", "", found.locale).encode,
        ),
        (
            "its option client_properties contains a value that AMQP cannot carry",
            Connection.StartOk(found.client_properties or {}, "", "", "").encode,
        ),
        (
            "its option tcp_options has a value that the system refuses",
            lambda: _set_on_a_socket(found.tcp_options),
        ),
    ]
    for problem, say in said:
        try:
            say()
        except Exception:  # pika and struct raise many kinds
            return problem
    return None


def _set_on_a_socket(options: dict[str, int] | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        set_sock_opts(options, tried)


def address_of(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
