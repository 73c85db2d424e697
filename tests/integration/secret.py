"""A password that can be found wherever it is written, and the places where none may stand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

CORE = uuid.uuid4().hex
"""What stands in the password however it is encoded."""

PASSWORD = f"{CORE[:4]}/@ %:{CORE}"


@contextmanager
def user(management: httpx.Client, *, vhost: str) -> Iterator[str]:
    """A user with all rights in `vhost` and this password: `user:password` for an address."""
    name = f"{vhost}-user"
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    found = {"password": PASSWORD, "tags": ""}
    management.put(f"/api/users/{name}", json=found).raise_for_status()
    try:
        management.put(f"/api/permissions/{vhost}/{name}", json=rights).raise_for_status()
        yield f"{name}:{quote(PASSWORD, safe='')}"
    finally:
        management.delete(f"/api/users/{name}").raise_for_status()


def connecting_as(who: str, amqp: str) -> str:
    """`amqp` with `who` in it instead of RabbitMQ's own first user, if that is who it has."""
    split = urlsplit(amqp)
    if not who or split.username != "guest" or split.password != "guest":
        return amqp
    return urlunsplit(split._replace(netloc=f"{who}@{split.netloc.rpartition('@')[2]}"))


def leaks(written: Mapping[str, str]) -> dict[str, list[str]]:
    """The lines that show the password, by where they stand."""
    found = {
        place: [line for line in text.splitlines() if CORE in line]
        for place, text in written.items()
    }
    return {place: lines for place, lines in found.items() if lines}


def files(*paths: Path) -> dict[str, str]:
    """What stands in them, by name."""
    return {path.name: path.read_text(errors="replace") for path in paths if path.exists()}
