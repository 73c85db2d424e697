"""RabbitMQ's address, with the certificate authority that vouches for it, as pika wants them.

An address holds a password. No error of this module repeats any part of one, not even a port: in
`amqp://user:s3cret/x@host` what stands where the port belongs is the password.
"""

import ssl
from urllib.parse import parse_qsl, urlsplit

import pika

FORM = "amqp://user:password@host:5672/vhost"
"""What an address looks like, for errors."""


def parameters(url: str, *, authority: str | None) -> pika.URLParameters:
    """How to connect to `url`, `amqp://…` or `amqps://…`.

    `authority` is the PEM text of the certificates to trust, else the system's are. Raises
    ValueError for what cannot be read; the message never shows a password, nor does anything that
    hangs on the error.
    """
    problem = _problem(url)
    found = None
    if problem is None:
        try:
            found = pika.URLParameters(url)
        except Exception:  # ValueError, but also SyntaxError and others out of its options
            problem = _unreadable(url)
    if found is None:
        del url  # error reporters read the variables of each frame
        raise ValueError(problem)
    if authority and found.ssl_options is not None:
        try:
            found.ssl_options = pika.SSLOptions(ssl.create_default_context(cadata=authority))
        except (ssl.SSLError, ValueError, TypeError) as error:
            said = getattr(error, "reason", None) or str(error)
            problem = f"its certificate authority is no certificate in PEM form: {said}"
        if problem is not None:
            del url, authority
            raise ValueError(problem)
    return found


def _problem(url: object) -> str | None:
    """What is wrong with the parts of `url`, without saying them."""
    if not isinstance(url, str):
        return f"it is of type {type(url).__name__}; it must be text like {FORM}"
    if not url.lower().startswith(("amqp://", "amqps://")):
        return f"it must begin with amqp:// or amqps://, like {FORM}"
    place, _, rest = _split(url)
    if "@" in rest:
        return (
            "an '@' stands behind the host; in user, password and vhost write '/', '?', '#' and "
            "'@' as %2F, %3F, %23 and %40"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (
            "its host or port cannot be read; a port is a number up to 65535, an IPv6 address "
            "stands in brackets, and in user and password '/', '?', '#', '[' and ']' are written "
            "as %2F, %3F, %23, %5B and %5D"
        )
    if "@" in place and parts.password is None:
        return f"it has a user without a password; it must look like {FORM}"
    if port == 0:
        return "its port is 0; a port is a number from 1 to 65535"
    return None


def _split(url: str) -> tuple[str, str, str]:
    """The authority of `url` (user to port), what ends it, and what follows."""
    after = url.partition("://")[2]
    ends = [position for mark in "/?#" if (position := after.find(mark)) >= 0]
    end = min(ends, default=len(after))
    return after[:end], after[end : end + 1], after[end + 1 :]


def _unreadable(url: str) -> str:
    known = {name.removeprefix(_OPTION) for name in dir(pika.URLParameters) if _OPTION in name}
    names = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if named := sorted(names & known):
        return f"one of its options cannot be read: {', '.join(named)}"
    return f"one of its options is unknown; there are {', '.join(sorted(known))}"


_OPTION = "_set_url_"
