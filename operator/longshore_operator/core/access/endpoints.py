"""Host names and addresses as people write them, and as URLs need them."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

_NO_HOST = re.compile(r"[\s/?#@:\[\]\\%]|[\x00-\x1f\x7f]")


def host(text: str) -> str:
    """Return a host name or an address as it is written outside of URLs; `text` may have an IPv6
    address with or without brackets.

    Raises ValueError, whose message continues a sentence that begins with the host's text.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            address = IPv6Address(bare)
        except ValueError:
            address = None
        if address is None:
            raise ValueError(
                "is neither a host name nor an address; a port is set separately, in `port`"
            )
        if address.scope_id is not None:
            raise ValueError("has a zone, which has no meaning on another machine; remove it")
        return bare
    if _NO_HOST.search(bare) or bare != text or not bare:
        raise ValueError("is neither a host name nor an address")
    return bare


def in_url(host: str) -> str:
    """Return `host` as URLs need it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def web_address(text: str) -> str:
    """Return the address of a web server, `http://HOST:PORT` with an optional path, without a slash
    at its end.

    Raises ValueError, whose message continues a sentence that begins with the address.
    """
    try:
        parts = urlsplit(text)
        name, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is not an address: its host or port cannot be read") from error
    if parts.scheme not in ("http", "https") or not name:
        raise ValueError("is not an address of the form http://HOST:PORT or https://HOST:PORT")
    if "@" in parts.netloc:
        raise ValueError("names a user; user and password belong in the Secret")
    if re.search(r"[\s\\?#]|[\x00-\x1f\x7f]", text):
        raise ValueError("has more than a scheme, a host, a port and a path")
    if parts.netloc.count(":") > 1 and not parts.netloc.startswith("["):
        raise ValueError("has an IPv6 address without brackets; write http://[ADDRESS]:PORT")
    host(f"[{name}]" if ":" in name else name)
    return text.rstrip("/")
