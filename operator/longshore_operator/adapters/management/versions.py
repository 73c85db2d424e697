"""Determines the version of a RabbitMQ whose nodes are upgraded one after the other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions that the running nodes report."""

    lowest: str | None
    """The lowest version, whose features all nodes have; None if none reports one."""

    silent: int
    """Number of nodes that report none: they started a few seconds ago, or RabbitMQ's statistics
    are disabled."""


def versions_in(nodes: Sequence[Mapping[str, Any]]) -> Versions:
    """Return the versions of the running nodes, as `/api/nodes` lists them. Raises TypeError,
    AttributeError or KeyError if it is not such a list."""
    if not isinstance(nodes, list):
        raise TypeError(f"a list of nodes was expected, not {type(nodes).__name__}")
    running = [node for node in nodes if node.get("running")]
    known = [version for node in running if (version := _version(node))]
    return Versions(lowest=min(known, key=_number, default=None), silent=len(running) - len(known))


def _version(node: Mapping[str, Any]) -> str | None:
    applications = node.get("applications") or ()
    found = (each["version"] for each in applications if each["name"] == "rabbit")
    return next((str(version) for version in found), None)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:3])
